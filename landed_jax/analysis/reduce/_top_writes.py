"""The largest writes of all layers, or at each position.

A layer's heads, and its neurons, are taken in runs. Where devices hold the runs, each finds the largest of its own, in
all layers; only those are compared at the end.
"""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from landed_jax.analysis.reduce._reductions import LayerShares, Reduction
from landed_jax.errors import LandedError
from landed_jax.nn.largest import largest
from landed_jax.nn.per_write import PerWrite
from landed_jax.nn.runs import runs_in
from landed_jax.results.result import Result, result


@result
class TopWrites(Result):
    """Writes with the largest ``|landed|``, largest first; heads and neurons. What is not a number stands first.

    Equal ones are in no order of layers.

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


def top_writes(n: int) -> Reduction:
    """Keep the `n` largest writes over all layers and all real positions of all prompts: see `TopWrites`.

    Raises:
        LandedError: for fewer than one.
    """
    return _top(True, _checked(n))


def top_per_position(n: int) -> Reduction:
    """Keep the `n` largest writes at each position, ``[batch, position, rank]``: see `TopWrites`.

    Raises:
        LandedError: for fewer than one.
    """
    return _top(False, _checked(n))


@cache  # jit caches programs by the reduction's identity: a new object would compile again
def _top(of_all: bool, n: int) -> Reduction:
    return Reduction(partial(_of_layer, of_all, n), partial(_merged, of_all, n))


def _checked(n: int) -> int:
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise LandedError(f"The number of writes to keep is a whole number and at least 1, not {n!r}.")
    return int(n)


def _of_layer(of_all: bool, n: int, shares: LayerShares) -> tuple[TopWrites, TopWrites]:
    """The largest of each run of heads and of each run of neurons: ``[batch, run, rank]``, at each position
    ``[batch, position, run, rank]``."""
    return _of_part(of_all, n, shares, False), _of_part(of_all, n, shares, True)


def _of_part(of_all: bool, n: int, shares: LayerShares, of_neurons: bool) -> TopWrites:
    def numbers(part: PerWrite | None) -> jax.Array | None:
        return None if part is None else part.neurons if of_neurons else part.heads

    landed, real = numbers(shares.landed), shares.real
    assert landed is not None
    batch, length, units = landed.shape
    # At a position a run of fewer than n would hand on all that it has.
    runs = runs_in(units) if of_all else runs_in(units, 4 * n)

    def in_runs(values: jax.Array) -> jax.Array:
        cut = values.reshape(batch, length, runs, -1)
        return jnp.moveaxis(cut, 2, 1).reshape(batch, runs, -1) if of_all else cut

    size = in_runs(_size(landed, real[..., None]))
    place = largest(size, min(n, size.shape[-1]))[1]

    def pick(part: PerWrite | None) -> jax.Array | None:
        values = numbers(part)
        if values is None:
            return None
        return jnp.where(there, jnp.take_along_axis(in_runs(values), place, axis=-1), 0)

    row = jnp.arange(batch, dtype=place.dtype).reshape(-1, *(1,) * (place.ndim - 1))
    own = units // runs
    run, columns = (jnp.arange(count, dtype=place.dtype) for count in (runs, length))
    if of_all:
        column, unit, run = place // own, place % own, run[None, :, None]
    else:
        column, unit, run = columns[None, :, None, None], place, run[None, None, :, None]
    b, p = (jnp.broadcast_to(of, place.shape) for of in (row, column))
    index, there, expert = unit + own * run, real[b, p], None
    if (chosen := shares.writes.chosen) is not None:
        d_ff = shares.landed.neurons.shape[-1] // chosen.ids.shape[-1]
        expert = chosen.ids[b, p, index // d_ff] if of_neurons else jnp.full(index.shape, -1, chosen.ids.dtype)
        index = index % d_ff if of_neurons else index
    found = pick(shares.landed)
    assert found is not None
    return TopWrites(
        landed=found,
        there=there,
        direct_effect=pick(shares.direct_effect),
        sigma_share=pick(shares.sigma_share),
        is_neuron=jnp.full(place.shape, of_neurons),
        layer=jnp.broadcast_to(jnp.asarray(shares.layer, place.dtype), place.shape),
        index=index,
        batch=b,
        position=shares.writes.at[p],
        expert=expert,
    )


def _size(landed: jax.Array, there: jax.Array) -> jax.Array:
    """What writes are ranked by: infinite for what is not a number, below all for what is not there."""
    return jnp.where(there, jnp.where(jnp.isnan(landed), jnp.inf, jnp.abs(landed)), -1)


def _merged(of_all: bool, n: int, stacked: tuple[TopWrites, TopWrites]) -> TopWrites:
    """The largest of all layers' largest: of each run, then of all runs."""

    def of_runs(part: TopWrites) -> TopWrites:
        def along_layers(leaf: jax.Array) -> jax.Array:
            moved = jnp.moveaxis(leaf, 0, -2)
            return moved.reshape(*moved.shape[:-2], -1)

        every = jax.tree.map(along_layers, part)
        size = _size(every.landed, every.there)
        return _picked(every, largest(size, min(n, size.shape[-1]))[1])

    heads, neurons = map(of_runs, stacked)
    # Heads and neurons are concatenated run by run: along the axis that a mesh cuts it would send them between devices.
    runs, lead = min(heads.landed.shape[-2], neurons.landed.shape[-2]), 0 if of_all else 2

    def beside(*parts: jax.Array) -> jax.Array:
        both = jnp.concatenate([part.reshape(*part.shape[:-2], runs, -1) for part in parts], axis=-1)
        return both.reshape(*both.shape[:lead], -1)

    every = jax.tree.map(beside, heads, neurons)
    size = _size(every.landed, every.there)
    return _picked(every, jax.lax.top_k(size, min(n, size.shape[-1]))[1])


def _picked(every: TopWrites, place: jax.Array) -> TopWrites:
    return jax.tree.map(lambda leaf: jnp.take_along_axis(leaf, place, axis=-1), every)
