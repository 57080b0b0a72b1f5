"""Runs of a model from a clean run's stream on, as many at a time as a chunk holds."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from landed_jax.analysis.reads._questions import as_question, resolve
from landed_jax.analysis.reads._read import folded, sigma_at
from landed_jax.interventions._chunks import Chunk
from landed_jax.interventions._measures import Measure, prepared
from landed_jax.interventions._stages import (
    Batch,
    Shared,
    Span,
    after_layer,
    clean_pass,
    embedded,
    layer_params,
    measured,
    top_params,
)
from landed_jax.model import Model
from landed_jax.nn.config import LayerKind
from landed_jax.nn.hook_points import HookPoint
from landed_jax.nn.intervention import Intervention
from landed_jax.nn.parameters import Params, unembedding
from landed_jax.nn.weights_on_disk import in_memory
from landed_jax.tokens import Tokens
from landed_jax.trace import Trace

_NONE = Batch((), jax.tree.structure(()), ())


@dataclass(frozen=True, eq=False)
class Runs:
    """A clean run of some prompts, and what other runs take from it.

    Attributes:
        clean: of the asked columns, with what the final norm puts out; bound to the weights.
        stream: ``[layer, batch, position, d_model]``, before each layer.
        final: ``[batch, asked, d_model]``, behind the last.
        measure: as `prepared`.
        watched: vectors ``[batch, asked, d_model]`` that every later write is multiplied with, if any.
        clean_writes: those products in the clean run, ``[layer, attention or MLP, batch, asked]``.
    """

    model: Model
    clean: Trace
    stream: jax.Array
    final: jax.Array
    shared: Shared
    measure: Any
    watched: jax.Array | None
    clean_writes: jax.Array | None
    dtype: Any
    kinds: tuple[LayerKind, ...]
    top: Params

    @classmethod
    def of(
        cls,
        model: Model,
        tokens: Tokens,
        always: tuple[Intervention, ...],
        at: jax.Array,
        measure: Measure,
        dtype: Any,
        watch: bool,
    ) -> "Runs":
        trace, shared = clean_pass(model.params, tokens, always, config=model.config, dtype=dtype)
        clean = final_at(trace, at).bind(model.params, model.vocabulary, model.source, model.notes)
        ready = prepared(measure, clean, unembedding(model.params, model.config))
        watched = _folded(clean, measure) if watch else None
        stream, final = trace[HookPoint.ATTN_RESIDUAL], clean[HookPoint.FINAL_RESIDUAL]
        kinds, top = model.config.kinds, top_params(model.params)
        runs = cls(model, clean, stream, final, shared, ready, watched, None, dtype, kinds, top)
        if not watch:
            return runs
        nothing = Chunk((0,), ((),), 0, -1, Span(0, int(max(np.asarray(at))) + 1), 1)
        return dataclasses.replace(runs, clean_writes=jnp.stack(runs._run(nothing)[2], axis=1)[0])

    @property
    def at(self) -> jax.Array:
        """The asked columns."""
        return self.clean.at

    def value(self) -> jax.Array:
        """What is measured of the clean run itself, ``[batch, position]``."""
        return self._measured(self.final, _NONE, 1)[0]

    def run(self, chunk: Chunk) -> tuple[jax.Array, jax.Array | None]:
        """What is measured of each run of a chunk, and what its writes say more than the clean run's, if watched."""
        value, first, said = self._run(chunk)
        if self.clean_writes is None:
            return value, None
        more = jnp.stack(said, axis=1) - self.clean_writes[first:][None]
        return value, jnp.pad(more, ((0, 0), (first, 0), *((0, 0),) * (more.ndim - 2)))

    def _run(self, chunk: Chunk) -> tuple[jax.Array, int, list[jax.Array]]:
        """The first layer that was run, and of each from there on what its two writes say, ``[run, part, …]``."""
        config, batch, depth = self.model.config, chunk.batch(), self.model.config.n_layers
        first, together, x, said = max(chunk.start, 0), chunk.start >= 0, self.stream, []
        if not together:
            how: dict[str, Any] = {"config": config, "span": chunk.span, "tree": batch.tree, "axes": batch.axes}
            embed, ids = in_memory(self.model.params["embed"]), self.clean.tokens.ids
            x = embedded(embed, ids, self.shared, batch.leaves, dtype=self.dtype, runs=chunk.runs, **how)
        for index in range(first, depth):
            own = batch if index <= chunk.last else _NONE
            x, write = after_layer(
                layer_params(self.model.params, index),
                x,
                np.int32(index),
                self.shared,
                own.leaves,
                self.at,
                self.watched,
                config=config,
                kind=self.kinds[index],
                span=chunk.span,
                tree=own.tree,
                axes=own.axes,
                runs=chunk.runs,
                together=together,
                last=index == depth - 1,
            )
            together = False
            said.append(write)
        value = self._measured(self.final if together else x, batch if chunk.last >= depth else _NONE, chunk.runs)
        return value, first, said

    def _measured(self, x: jax.Array, batch: Batch, runs: int) -> jax.Array:
        how: dict[str, Any] = {"config": self.model.config, "tree": batch.tree, "axes": batch.axes, "runs": runs}
        return measured(self.top, x, self.at, self.shared, batch.leaves, self.measure, **how)


def final_at(trace: Trace, at: jax.Array) -> Trace:
    """What the final norm read and put out, at some columns."""
    known = dataclasses.replace(trace.provenance, at=at)
    points = (HookPoint.FINAL_RESIDUAL, HookPoint.FINAL_NORMED, HookPoint.FINAL_SIGMA)
    kept = {point.value: jnp.take(trace[point], at, axis=1) for point in points}
    kept[HookPoint.FINAL_GAMMA.value] = trace[HookPoint.FINAL_GAMMA]
    return dataclasses.replace(trace, sown=kept, provenance=known)


def _folded(clean: Trace, measure: Measure) -> jax.Array:
    """The vector whose product with a write is its landed contribution to the value."""
    read = resolve(clean, as_question(measure))  # pyright: ignore[reportArgumentType] # effects are of questions
    vector = folded(clean, read) / sigma_at(clean, "final")[..., None]
    return jnp.broadcast_to(vector, clean[HookPoint.FINAL_NORMED].shape)
