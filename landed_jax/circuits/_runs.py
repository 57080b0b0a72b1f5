"""Runs of a model by which its edges are known: an ordinary one with every node's write, and split ones."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from landed_jax.circuits._graph import Graph
from landed_jax.circuits._layers import Sigmas, combined, layer_slopes, plan_of, split_layer, whole_layer
from landed_jax.interventions._measures import Measure, prepared
from landed_jax.interventions._stages import layer_params, top_params
from landed_jax.model import Model
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.hook_points import HookPoint
from landed_jax.nn.modules import Embed, ReadNorm
from landed_jax.nn.parameters import Params, unembedding
from landed_jax.nn.rotary import query_scale, rotary_tables
from landed_jax.nn.tap import Context, Plan
from landed_jax.nn.weights_on_disk import in_memory
from landed_jax.numerics import compute_dtype, highest_precision
from landed_jax.provenance import Provenance
from landed_jax.tokens import Tokens, as_tokens, check_ids, check_positions
from landed_jax.trace import Trace

_FINAL = frozenset(map(HookPoint, ("final_normed", "final_sigma", "final_gamma")))
_NOTHING: Any = None
_NO_TOKENS = Context((), None, _NOTHING, _NOTHING, None)
"""The final norm looks at no other position."""


class Whole(NamedTuple):
    """An ordinary run.

    Attributes:
        streams: before each layer, and behind the last.
        writes: what each node adds to the stream.
        sigmas: of each layer's norms, and of the final one at the asked columns.
        final: what the final norm puts out at the asked columns, and its σ and γ, by their hook points.
    """

    streams: tuple[Float[Array, "batch position d_model"], ...]
    writes: Float[Array, "sender batch position d_model"]
    sigmas: tuple[Sigmas, ...]
    final: Mapping[str, jax.Array]


@dataclass(frozen=True, eq=False)
class Runs:
    """A model and some prompts of one shape: all that their runs share.

    Attributes:
        asked: the columns at which the value is measured.
    """

    params: Params
    config: ModelConfig
    graph: Graph
    tokens: Tokens
    context: Context
    dtype: Any
    asked: jax.Array

    @classmethod
    def of(cls, model: Model, tokens: Any, dtype: Any = None) -> "Runs":
        """Of a model on prompts, measured at the last column.

        Raises:
            LandedError: for ids that the model does not have, and positions beyond its learned ones.
        """
        tokens, config, dtype = as_tokens(tokens), model.config, compute_dtype(dtype)
        check_ids(tokens, config.vocab_size)
        if config.learned_positions:
            check_positions(tokens, config.max_positions)
        asked = jnp.array([tokens.ids.shape[1] - 1])
        context = _context(tokens, config=config, dtype=dtype)
        return cls(model.params, config, Graph.of(config), tokens, context, dtype, asked)

    def of_prompts(self, places: np.ndarray) -> "Runs":
        """Of some of the prompts."""
        if len(places) == len(self.tokens.ids) and (places == np.arange(len(places))).all():
            return self
        tokens, context = jax.tree.map(lambda leaf: leaf[places], (self.tokens, self.context))
        return dataclasses.replace(self, tokens=tokens, context=context)

    def embedded(self) -> Float[Array, "batch position d_model"]:
        """The stream before the first layer: what the node ``input`` writes."""
        how: dict[str, Any] = {"config": self.config, "dtype": self.dtype}
        return _embedded(in_memory(self.params["embed"]), self.tokens.ids, self.context, **how)

    def whole(self, start: jax.Array | None = None, held: tuple[Sigmas, ...] = ()) -> Whole:
        """An ordinary run, of the prompts or from another stream before the first layer.

        Args:
            held: σ that norms divide by, of each layer and of the final norm; by default each its own.
        """
        streams = [self.embedded() if start is None else start]
        writes, sigmas = [streams[0][None]], []
        for index in range(self.config.n_layers):
            x, own, divided = whole_layer(*self._layer(index, streams[-1], held), **self._kind(index))
            streams.append(x)
            writes.append(own)
            sigmas.append(held[index] if held else divided)
        final = _closing(top_params(self.params), streams[-1], _last(held), self.asked, config=self.config)
        sigmas.append({"final_sigma": final["final_sigma"]})
        return Whole(tuple(streams), jnp.concatenate(writes), tuple(sigmas), final)

    def measure(self, model: Model, clean: Whole, measure: Measure) -> Any:
        """What is measured, as a function of the final norm's output; see `prepared`."""
        trace = Trace(Provenance(self.tokens, self.asked, self.config), dict(clean.final))
        bound = trace.bind(self.params, model.vocabulary, model.source, model.notes)
        return prepared(measure, bound, unembedding(self.params, self.config))

    def value(self, whole: Whole, measure: Any) -> Float[Array, " batch"]:
        """What is measured of an ordinary run."""
        return _measured(top_params(self.params), whole.final["final_normed"], measure, config=self.config)

    def split(
        self,
        whole: Whole,
        other: Float[Array, "sender batch position d_model"],
        weights: Float[Array, "run read sender"],
        measure: Any,
        held: tuple[Sigmas, ...] = (),
        first: int = 0,
    ) -> Float[Array, "run batch"]:
        """What is measured of split runs: each read hears the stream, and its weights' part of every node's change.

        Args:
            whole: the ordinary run that they are where all weights are 0.
            other: every node's write in the other run.
            first: a layer before which all weights are 0: the runs begin with it.
        """
        config, count = self.config, weights.shape[0]
        heads, depth = config.n_heads, config.n_layers
        by_layer = weights[:, :-1].reshape(count, depth, 3 * heads + 1, -1)
        of_layers = other[1:].reshape(depth, heads + 1, *other.shape[1:])
        x, changes = _start(whole.streams[first], whole.writes, other, 1 + first * (heads + 1), count=count)
        for index in range(first, depth):
            layers, _, number, *rest = self._layer(index, whole.streams[index], held)
            x, changes = split_layer(layers, x, changes, of_layers[index], by_layer, number, *rest, **self._kind(index))
        how = (self.asked, measure)
        return _split_value(top_params(self.params), x, changes, weights[:, -1], _last(held), *how, config=config)

    def slopes(
        self, whole: Whole, measure: Any, held: tuple[Sigmas, ...] = ()
    ) -> Iterator[Float[Array, "read batch position d_model"]]:
        """The value's slopes by the input of each read alone: the logits', then each layer's, the last one first."""
        top = top_params(self.params)
        after = _closing_slopes(top, whole.streams[-1], _last(held), self.asked, measure, config=self.config)
        yield after[None]
        for index in reversed(range(self.config.n_layers)):
            layers, x, number, *rest = self._layer(index, whole.streams[index], held)
            after, of_reads = layer_slopes(layers, x, after, number, *rest, **self._kind(index))
            yield of_reads

    def _layer(self, index: int, x: jax.Array, held: tuple[Sigmas, ...]) -> tuple[Any, ...]:
        own = held[index] if held else {}
        return layer_params(self.params, index), x, np.int32(index), self.context, own

    def _kind(self, index: int) -> dict[str, Any]:
        return {"config": self.config, "kind": self.config.kinds[index]}


@functools.partial(jax.jit, static_argnames=("config", "dtype"))
def _context(tokens: Tokens, *, config: ModelConfig, dtype: Any) -> Context:
    positions = tokens.positions
    tables, scale = rotary_tables(config, positions, dtype), query_scale(config, positions, dtype)
    return Context(tables, scale, tokens.mask, positions, None)


@functools.partial(jax.jit, static_argnames=("config", "dtype"))
def _embedded(embed: Params, ids: jax.Array, context: Context, *, config: ModelConfig, dtype: Any) -> jax.Array:
    return Embed(config, Plan(), parent=None).apply({"params": embed}, ids, dtype, context)  # pyright: ignore[reportReturnType] # Flax's apply may give a pair


@functools.partial(jax.jit, static_argnames="count")
def _start(
    stream: jax.Array, writes: jax.Array, other: jax.Array, known: jax.Array | int, *, count: int
) -> tuple[jax.Array, jax.Array]:
    """The stream of each run, and the changes of as many nodes as are known."""
    there = (jnp.arange(len(writes)) < known)[:, None, None, None]
    changes = jnp.where(there, other - writes, 0)
    x, changes = (jnp.broadcast_to(value, (count, *value.shape)) for value in (stream, changes))
    return x, changes


def _last(held: tuple[Sigmas, ...]) -> Sigmas:
    return held[-1] if held else {}


def _final(top: Params, x: jax.Array, held: Sigmas, config: ModelConfig) -> dict[str, jax.Array]:
    """The final norm's output with its σ and γ."""
    plan = dataclasses.replace(plan_of(config, held), record=_FINAL)
    norm: Any = ReadNorm(config, plan, "final", parent=None)
    return norm.apply({"params": top["final_norm"]}, x, None, _NO_TOKENS, mutable=["intermediates"])[1]["intermediates"]


@functools.partial(jax.jit, static_argnames="config")
@highest_precision
def _closing(top: Params, x: jax.Array, held: Sigmas, asked: jax.Array, *, config: ModelConfig) -> dict[str, jax.Array]:
    return _final(top, jnp.take(x, asked, axis=1), held, config)


@functools.partial(jax.jit, static_argnames="config")
@highest_precision
def _measured(top: Params, normed: jax.Array, measure: Any, *, config: ModelConfig) -> jax.Array:
    return jnp.sum(measure(normed, unembedding(top, config)), axis=1)


@functools.partial(jax.jit, static_argnames="config")
@highest_precision
def _split_value(
    top: Params,
    x: jax.Array,
    changes: jax.Array,
    weights: jax.Array,
    held: Sigmas,
    asked: jax.Array,
    measure: Any,
    *,
    config: ModelConfig,
) -> jax.Array:
    x, changes = jnp.take(x, asked, axis=2), jnp.take(changes, asked, axis=3)

    def one(x: jax.Array) -> jax.Array:
        final = _final(top, x, held, config)
        return jnp.sum(measure(final["final_normed"], unembedding(top, config)), axis=1)

    return jax.vmap(one)(x + combined(weights[:, None], changes)[:, 0])


@functools.partial(jax.jit, static_argnames="config")
@highest_precision
def _closing_slopes(
    top: Params, x: jax.Array, held: Sigmas, asked: jax.Array, measure: Any, *, config: ModelConfig
) -> jax.Array:
    def value(x: jax.Array) -> jax.Array:
        final = _final(top, jnp.take(x, asked, axis=1), held, config)
        return jnp.sum(measure(final["final_normed"], unembedding(top, config)))

    return jax.grad(value)(x)
