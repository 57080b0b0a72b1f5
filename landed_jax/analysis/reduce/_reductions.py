"""What to keep of every write's shares, layer by layer, so that the whole of them never exists at once."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from landed_jax.analysis.attribution._shares import Shares
from landed_jax.errors import LandedError
from landed_jax.nn.layer_writes import LayerWrites
from landed_jax.nn.runs import sums_of_neurons
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
    return Reduction(_sums, _added)


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
def _counts(edges: tuple[float, ...]) -> Reduction:
    return Reduction(partial(_histogram, edges))


def _shares(shares: LayerShares) -> Shares:
    return Shares(shares.landed, shares.direct_effect, shares.sigma_share)


def _sums(shares: LayerShares) -> LayerSums:
    neurons = shares.landed.neurons
    return LayerSums(shares.landed.heads, sums_of_neurons(neurons), sums_of_neurons(jnp.abs(neurons)))


def _added(stacked: LayerSums) -> LayerSums:
    return LayerSums(stacked.heads, jnp.sum(stacked.mlp_net, axis=-1), jnp.sum(stacked.mlp_gross, axis=-1))


def _histogram(edges: tuple[float, ...], shares: LayerShares) -> Histogram:
    def count(values: Float[Array, "batch position part"]) -> Int[Array, " bin"]:
        bins = jnp.asarray(edges, values.dtype)
        place = jnp.searchsorted(bins, values.ravel(), side="right")
        kept = (shares.real[..., None] & ~jnp.isnan(values)).ravel()
        return jnp.zeros(len(edges) + 1, jnp.int32).at[place].add(kept.astype(jnp.int32))

    return Histogram(count(shares.landed.heads), count(shares.landed.neurons))
