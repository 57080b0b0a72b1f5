"""How many writes make a value, and how much of what they say they take back from one another."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from landed_jax.analysis.attribution._attribute import attribute
from landed_jax.analysis.attribution._result import Attribution
from landed_jax.analysis.basis._coordinates import Coordinates
from landed_jax.analysis.reads._questions import QuestionLike
from landed_jax.analysis.registry import analysis
from landed_jax.errors import LandedError
from landed_jax.nn.per_write import PerWrite
from landed_jax.results.result import Result, result
from landed_jax.trace import Trace


@result
class Operations(Result):
    """The writes behind a value, counted and weighed.

    Attributes:
        embedding, position_embedding: the embeddings' landed contributions; None for positions that were not learned.
        attn_net, mlp_net: each layer's landed contribution, all heads (neurons) and the bias together.
        attn_gross, mlp_gross: the sum of their sizes, ``Σ|c|``.
        layer_heads, layer_neurons: the participation ratio ``(Σ|c|)² / Σc²`` within each layer: n for n contributions
            of one size, 1 where one carries all, 0 where there is nothing.
        heads, neurons, writes: the same over all heads, over all neurons, and over every write. (Of the sizes ``|c|``;
            elsewhere a participation ratio is often that of squares, ``(Σc²)² / Σc⁴``, and smaller.)
        fewest: how many writes, largest ``|c|`` of either sign first, until their signed sum first reaches each of
            `fractions` of the value. Another choice of writes may reach it with fewer.
        value: the model's own number, less a reader's own offset.
        closure_error: ``|embeddings + Σ attn_net + Σ mlp_net − value|``, in units of the value.
    """

    embedding: Float[Array, "batch position"]
    position_embedding: Float[Array, "batch position"] | None
    attn_net: Float[Array, "layer batch position"]
    attn_gross: Float[Array, "layer batch position"]
    mlp_net: Float[Array, "layer batch position"]
    mlp_gross: Float[Array, "layer batch position"]
    layer_heads: Float[Array, "layer batch position"]
    layer_neurons: Float[Array, "layer batch position"]
    heads: Float[Array, "batch position"]
    neurons: Float[Array, "batch position"]
    writes: Float[Array, "batch position"]
    fewest: Int[Array, "fraction batch position"]
    value: Float[Array, "batch position"]
    closure_error: Float[Array, "batch position"]
    fractions: tuple[float, ...] = dataclasses.field(metadata={"static": True})

    @property
    def attn_cancellation(self) -> Float[Array, "layer batch position"]:
        """``1 − |net| / gross`` of each layer's attention: 0 where all pull one way, 1 where nothing is left."""
        return _cancellation(self.attn_net, self.attn_gross)

    @property
    def mlp_cancellation(self) -> Float[Array, "layer batch position"]:
        """``1 − |net| / gross`` of each layer's MLP."""
        return _cancellation(self.mlp_net, self.mlp_gross)


@analysis()
def operations(
    trace: Trace | Attribution,
    question: QuestionLike = None,
    *,
    fractions: tuple[float, ...] = (0.5, 0.9, 0.99),
) -> Operations:
    """Count and weigh the writes behind a logit, best a difference of two: net, gross, participation, fewest.

    A bare logit holds what every token's logit shares, which inflates all of these; ask for a difference, or a centred
    logit.

    Args:
        trace: bound to its weights; or an `Attribution` made before, alone.
        question: as for `attribute`.
        fractions: the parts of the value that `fewest` counts up to, above 0 and at most 1.

    Raises:
        LandedError: as `attribute` does, and for tokens beside an `Attribution` or fractions that cannot be.

    References:
        Hill, Diversity and Evenness: A Unifying Notation and Its Consequences, 1973 (the participation ratio of
        ``|c|`` is the effective number of order 2).

    >>> from landed_jax import Logit, ModelConfig, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> params = init_params(config, jax.random.key(0))
    >>> _, trace = forward(params, jnp.array([[1, 5, 7]]), config)
    >>> counted = operations(trace.bind(params), Logit(3, against=4))
    >>> counted.fewest.shape, counted.mlp_net.shape
    ((3, 1, 3), (2, 1, 3))
    >>> bool((counted.writes <= 1 + 2 * (4 + 12)).all())
    True
    """
    fractions = tuple(fractions)
    if not all(0 < fraction <= 1 for fraction in fractions):
        raise LandedError(f"Fractions of the value lie above 0 and are at most 1, not {fractions}.")
    if isinstance(trace, Attribution):
        if question is not None:
            raise LandedError("An Attribution has its question already: give it alone.")
        shares = trace
    else:
        shares = attribute(trace, question, effects=False)
    found = _operations(shares.landed, shares.value - shares.offset, fractions)
    return found if shares.provenance is None else dataclasses.replace(found, provenance=shares.provenance)


@partial(jax.jit, static_argnums=2)
def _operations(landed: PerWrite, value: jax.Array, fractions: tuple[float, ...]) -> Operations:
    attn_net, attn_gross = _net_and_gross(landed.heads, landed.attn_bias)
    mlp_net, mlp_gross = _net_and_gross(landed.neurons, landed.mlp_bias)
    heads, neurons = _flat(landed.heads), _flat(landed.neurons)
    biases = [jnp.moveaxis(bias, 0, -1) for bias in (landed.attn_bias, landed.mlp_bias)]
    embeddings = [number[..., None] for number in landed.embeddings.values()]
    writes = jnp.concatenate([*embeddings, heads, neurons, *biases], axis=-1)
    total = sum(landed.embeddings.values(), start=jnp.sum(attn_net, axis=0) + jnp.sum(mlp_net, axis=0))
    return Operations(
        embedding=landed.embedding,
        position_embedding=landed.position_embedding,
        attn_net=attn_net,
        attn_gross=attn_gross,
        mlp_net=mlp_net,
        mlp_gross=mlp_gross,
        layer_heads=_participation(landed.heads),
        layer_neurons=_participation(landed.neurons),
        heads=_participation(heads),
        neurons=_participation(neurons),
        writes=_participation(writes),
        fewest=jnp.stack([_fewest(writes, value, fraction) for fraction in fractions]),
        value=value,
        closure_error=jnp.abs(total - value),
        fractions=fractions,
    )


def _net_and_gross(parts: jax.Array, bias: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jnp.sum(parts, axis=-1) + bias, jnp.sum(jnp.abs(parts), axis=-1) + jnp.abs(bias)


def _cancellation(net: jax.Array, gross: jax.Array) -> jax.Array:
    there = gross > 0
    return jnp.where(there, 1 - jnp.abs(net) / jnp.where(there, gross, 1), 0)


def _flat(parts: Float[Array, "layer batch position part"]) -> Float[Array, "batch position parts"]:
    """All layers' parts along one axis."""
    return jnp.moveaxis(parts, 0, 2).reshape(*parts.shape[1:3], -1)


def _participation(parts: Float[Array, "*batch part"]) -> Float[Array, "*batch"]:
    size = jnp.abs(parts)
    largest = jax.lax.stop_gradient(jnp.max(size, axis=-1, keepdims=True))
    # In units of the largest: squares of tiny contributions would underflow, and the ratio has no units anyway.
    size = size / jnp.where(largest > 0, largest, 1)
    squares = jnp.sum(jnp.square(size), axis=-1)
    return jnp.square(jnp.sum(size, axis=-1)) / jnp.where(squares > 0, squares, 1)


def _fewest(writes: jax.Array, value: jax.Array, fraction: float) -> jax.Array:
    """As `Coordinates.count` defines it; what a model or a read does not have (a 0) is never counted."""
    return jnp.minimum(Coordinates(writes, value).count(fraction), jnp.sum(writes != 0, axis=-1))
