"""What to keep of every write's shares, layer by layer, so that the whole of them never exists at once."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from landed_jax.analysis.attribution._shares import Shares
from landed_jax.errors import LandedError
from landed_jax.nn.layer_writes import LayerWrites
from landed_jax.nn.per_write import PerWrite
from landed_jax.results.result import Result, result


@result
class LayerShares(Shares):
    """The shares of one layer's writes in a value: what a `Reduction` sees.

    Attributes:
        layer: which layer, a scalar.
        writes: what the shares are of: the factors, norms and projections.
    """

    layer: Int[Array, ""]
    writes: LayerWrites

    @property
    def real(self) -> Bool[Array, "batch position"]:
        """False on padding."""
        return self.writes.real


@result
class Histogram(Result):
    """How many landed contributions at real positions fall into each bin."""

    heads: Int[Array, "layer bin"]
    neurons: Int[Array, "layer bin"]


def _as_it_is(stacked: Any) -> Any:
    return stacked


@dataclass(frozen=True)
class Reduction:
    """A pure function of one layer's `LayerShares`, and one of its results of all layers, stacked.

    Hashable, so that it can be a static argument of ``jit``: use functions that live at the top of a module, as a
    new lambda (or ``functools.partial``) compiles a new program.

    Raises:
        LandedError: for what is no function.
    """

    layer: Callable[[LayerShares], Any]
    finish: Callable[[Any], Any] = _as_it_is

    def __post_init__(self) -> None:
        if not callable(self.layer) or not callable(self.finish):
            raise LandedError(f"A Reduction is made of functions, not of {self.layer!r} and {self.finish!r}.")


@result
class TopWrites(Result):
    """Writes with the largest ``|landed|``, largest first; heads and neurons. What is not a number stands first.

    Attributes:
        landed: landed contributions.
        there: False (and all numbers 0) where there were not as many writes at real tokens.
        direct_effect, sigma_share: of the same writes; None unless they were asked for.
        is_neuron: whether it is a neuron's, not a head's.
        layer, index: which.
        expert: whose neuron it is, in a model with experts; -1 for heads.
        batch, position: whose: the prompt, and the column of the tokens.
    """

    landed: Float[Array, "*lead rank"]
    there: Bool[Array, "*lead rank"]
    direct_effect: Float[Array, "*lead rank"] | None
    sigma_share: Float[Array, "*lead rank"] | None
    is_neuron: Bool[Array, "*lead rank"]
    layer: Int[Array, "*lead rank"]
    index: Int[Array, "*lead rank"]
    batch: Int[Array, "*lead rank"]
    position: Int[Array, "*lead rank"]
    expert: Int[Array, "*lead rank"] | None = None


@result
class LayerSums(Result):
    """Each head's landed contribution, and the neurons' only in sum: net, and the sum of sizes (gross)."""

    heads: Float[Array, "layer batch position head"]
    mlp_net: Float[Array, "layer batch position"]
    mlp_gross: Float[Array, "layer batch position"]


@cache
def everything() -> Reduction:
    """Keep all, see `Shares`: ``[layer, batch, position, d_ff]`` numbers, as many as the factors themselves."""
    return Reduction(_shares)


@cache
def layer_sums() -> Reduction:
    """Keep each head's landed contribution and each layer's neurons in sum: see `LayerSums`."""
    return Reduction(_sums)


def top_writes(n: int) -> Reduction:
    """Keep the `n` largest writes over all layers and all real positions of all prompts: see `TopWrites`.

    Raises:
        LandedError: for fewer than one.
    """
    return _top(_top_of_all, 0, _checked(n))


def top_per_position(n: int) -> Reduction:
    """Keep the `n` largest writes at each position, ``[batch, position, rank]``: see `TopWrites`.

    Raises:
        LandedError: for fewer than one.
    """
    return _top(_top_of_each, 2, _checked(n))


def histogram(edges: Sequence[float]) -> Reduction:
    """Count landed contributions at real positions in bins: see `Histogram`.

    What is not a number is in no bin.

    Args:
        edges: ascending; ``len(edges) + 1`` bins: below ``edges[0]`` first, from ``edges[-1]`` on last.

    Raises:
        LandedError: for edges that do not ascend.
    """
    bounds = tuple(map(float, edges))
    if not bounds or not all(low < high for low, high in itertools.pairwise((-math.inf, *bounds, math.inf))):
        raise LandedError(f"The edges of a histogram ascend, and there is at least one: not {bounds}.")
    return _counts(bounds)


@cache  # jit caches programs by the reduction's identity: a new object would compile again
def _top(of_layer: Callable[[int, LayerShares], TopWrites], lead: int, n: int) -> Reduction:
    return Reduction(partial(of_layer, n), partial(_merge, n, lead))


@cache
def _counts(edges: tuple[float, ...]) -> Reduction:
    return Reduction(partial(_histogram, edges))


def _checked(n: int) -> int:
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise LandedError(f"The number of writes to keep is a whole number and at least 1, not {n!r}.")
    return int(n)


def _shares(shares: LayerShares) -> Shares:
    return Shares(shares.landed, shares.direct_effect, shares.sigma_share)


def _sums(shares: LayerShares) -> LayerSums:
    neurons = shares.landed.neurons
    return LayerSums(shares.landed.heads, jnp.sum(neurons, axis=-1), jnp.sum(jnp.abs(neurons), axis=-1))


def _histogram(edges: tuple[float, ...], shares: LayerShares) -> Histogram:
    def count(values: Float[Array, "batch position part"]) -> Int[Array, " bin"]:
        bins = jnp.asarray(edges, values.dtype)
        place = jnp.searchsorted(bins, values.ravel(), side="right")
        kept = (shares.real[..., None] & ~jnp.isnan(values)).ravel()
        return jnp.zeros(len(edges) + 1, jnp.int32).at[place].add(kept.astype(jnp.int32))

    return Histogram(count(shares.landed.heads), count(shares.landed.neurons))


def _top_of_all(n: int, shares: LayerShares) -> TopWrites:
    heads, neurons = shares.landed.heads, shares.landed.neurons
    values = jnp.concatenate([heads, neurons], axis=-1)
    # Prompt by prompt: places in all of them together can be beyond 32 bits.
    size = jnp.where(shares.real[..., None], jnp.abs(values), -1).reshape(len(values), -1)
    _, place = jax.lax.top_k(size, min(n, size.shape[1]))
    p, u = place // values.shape[2], place % values.shape[2]
    b = jnp.broadcast_to(jnp.arange(len(values), dtype=place.dtype)[:, None], place.shape)
    return jax.tree.map(jnp.ravel, _picked(shares, b, p, u))


def _top_of_each(n: int, shares: LayerShares) -> TopWrites:
    values = jnp.concatenate([shares.landed.heads, shares.landed.neurons], axis=-1)
    _, u = jax.lax.top_k(jnp.abs(values), min(n, values.shape[-1]))
    b = jnp.broadcast_to(jnp.arange(u.shape[0], dtype=u.dtype)[:, None, None], u.shape)
    p = jnp.broadcast_to(jnp.arange(u.shape[1], dtype=u.dtype)[None, :, None], u.shape)
    return _picked(shares, b, p, u)


def _picked(shares: LayerShares, b: jax.Array, p: jax.Array, u: jax.Array) -> TopWrites:
    """The numbers of chosen writes; heads are counted before neurons."""
    n_heads, there = shares.landed.heads.shape[-1], shares.real[b, p]
    is_neuron = u >= n_heads
    index = jnp.where(is_neuron, u - n_heads, u)

    def pick(part: PerWrite | None) -> jax.Array | None:
        if part is None:
            return None
        head = part.heads[b, p, jnp.where(is_neuron, 0, index)]
        neuron = part.neurons[b, p, jnp.where(is_neuron, index, 0)]
        return jnp.where(there, jnp.where(is_neuron, neuron, head), 0)

    landed = pick(shares.landed)
    assert landed is not None
    effect, share = pick(shares.direct_effect), pick(shares.sigma_share)
    layer = jnp.broadcast_to(jnp.asarray(shares.layer, u.dtype), u.shape)
    expert = None
    if (chosen := shares.writes.chosen) is not None:
        d_ff = shares.landed.neurons.shape[-1] // chosen.ids.shape[-1]
        expert = jnp.where(is_neuron, chosen.ids[b, p, jnp.where(is_neuron, index // d_ff, 0)], -1)
        index = jnp.where(is_neuron, index % d_ff, index)
    return TopWrites(landed, there, effect, share, is_neuron, layer, index, b, shares.writes.at[p], expert)


def _merge(n: int, lead: int, stacked: TopWrites) -> TopWrites:
    """The largest of all layers' largest: equal ones in the order of their layers."""

    def flat(leaf: jax.Array) -> jax.Array:
        moved = jnp.moveaxis(leaf, 0, lead)
        return moved.reshape(*moved.shape[:lead], -1)

    every = jax.tree.map(flat, stacked)
    size = jnp.where(every.there, jnp.abs(every.landed), -1)
    _, place = jax.lax.top_k(size, min(n, size.shape[-1]))
    return jax.tree.map(lambda leaf: jnp.take_along_axis(leaf, place, axis=-1), every)
