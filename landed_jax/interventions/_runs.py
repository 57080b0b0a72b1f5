"""Runs of a model from a clean run's stream on, as many at a time as a chunk holds."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from landed_jax.analysis.reads._questions import resolve
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
from landed_jax.nn.hook_points import HookPoint
from landed_jax.nn.intervention import Intervention
from landed_jax.nn.parameters import unembedding
from landed_jax.tokens import Tokens
from landed_jax.trace import Trace

_NONE = Batch((), jax.tree.structure(()), ())


@dataclass(frozen=True, eq=False)
class Runs:
    """A clean run of some prompts, and what other runs take from it.

    Attributes:
        clean: of the asked columns, with what the final norm puts out; bound to the weights.
        stream: ``[layer, batch, position, d_model]``, before each layer; and behind the last.
        measure: as `prepared`.
        watched: vectors ``[batch, asked, d_model]`` that every later write is multiplied with, if any.
    """

    model: Model
    clean: Trace
    stream: jax.Array
    final: jax.Array
    shared: Shared
    measure: Any
    watched: jax.Array | None
    dtype: Any

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
        clean = _at(trace, at).bind(model.params, model.vocabulary, model.source, model.notes)
        ready = prepared(measure, clean, unembedding(model.params, model.config))
        watched = _per_write(trace, clean, ready) if watch else None
        stream, final = trace[HookPoint.ATTN_RESIDUAL], trace[HookPoint.FINAL_RESIDUAL]
        return cls(model, clean, stream, final, shared, ready, watched, dtype)

    @property
    def at(self) -> jax.Array:
        """The asked columns."""
        return self.clean.at

    def value(self) -> jax.Array:
        """What is measured of the clean run itself, ``[batch, position]``."""
        x = self.final[None]
        return self._measured(x, Span(0, x.shape[2]), _NONE, 1)[0]

    def run(self, chunk: Chunk) -> tuple[jax.Array, jax.Array | None]:
        """What is measured of each run of a chunk, and what the layers' writes say, ``[run, layer, part, …]``."""
        config, span, batch = self.model.config, chunk.span, chunk.batch()
        columns = slice(span.first, span.end)
        layer, together = max(chunk.start, 0), chunk.start >= 0
        if chunk.start < 0:
            how: dict[str, Any] = {"config": config, "span": span, "tree": batch.tree, "axes": batch.axes}
            embed, ids = self.model.params["embed"], self.clean.tokens.ids
            x = embedded(embed, ids, self.shared, batch.leaves, dtype=self.dtype, runs=chunk.runs, **how)
        else:
            x = (self.stream[layer] if layer < config.n_layers else self.final)[:, columns]
        said = []
        watched = None if self.watched is None else (self.watched, self.at - span.first)
        for index in range(layer, config.n_layers):
            own = batch if index <= chunk.last else _NONE
            x, write = after_layer(
                layer_params(self.model.params, index),
                x,
                np.int32(index),
                self.shared,
                own.leaves,
                watched,
                config=config,
                kind=config.kinds[index],
                span=span,
                tree=own.tree,
                axes=own.axes,
                runs=chunk.runs,
                together=together,
            )
            together = False
            said.append(write)
        if together:  # the final norm's own: the stream is that of all runs
            x = jnp.broadcast_to(x, (chunk.runs, *x.shape))
        own = batch if chunk.last >= config.n_layers else _NONE
        value = self._measured(x, span, own, chunk.runs)
        if watched is None:
            return value, None
        before = jnp.zeros((chunk.runs, layer, 2, *value.shape[1:]), value.dtype)
        return value, jnp.concatenate([before, *(write[:, None] for write in said)], axis=1)

    def _measured(self, x: jax.Array, span: Span, batch: Batch, runs: int) -> jax.Array:
        how: dict[str, Any] = {"config": self.model.config, "tree": batch.tree, "axes": batch.axes, "runs": runs}
        top = top_params(self.model.params)
        return measured(top, x, self.at - span.first, self.at, self.shared, batch.leaves, self.measure, **how)


def _at(trace: Trace, at: jax.Array) -> Trace:
    """What the final norm put out, at some columns."""
    known = dataclasses.replace(trace.provenance, at=at)
    kept = {HookPoint.FINAL_NORMED.value: jnp.take(trace[HookPoint.FINAL_NORMED], at, axis=1)}
    return dataclasses.replace(trace, sown=kept, provenance=known)
