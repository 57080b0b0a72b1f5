"""Products of rows with the weights of the expert that each row chose: the chosen are computed, and no others.

The plain form sorts the rows by their experts and takes `jax.lax.ragged_dot_general`. XLA on a CPU expands that into
the products of every row with every expert, so there the sorted rows go in blocks of one expert each. As JAX has no
``vmap`` of a ragged product with shared weights, ``vmap`` is written out: more prompts or questions are more rows.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Float, Int

from landed_jax.nn.schedule import on_cpu
from landed_jax.numerics import narrowed

# Rows of a block at most: larger ones gain nothing over XLA's own product of so many rows.
LARGEST_BLOCK = 64


def expert_linear(
    x: Float[Array, "row d_in"],
    weights: Float[Array, "expert d_out d_in"],
    ids: Int[Array, " row"],
    *,
    bfloat16: bool = False,
) -> Float[Array, "row d_out"]:
    """``x Wᵀ`` of each row with its own expert's weights, cast to the rows' type as they are used; or both in bfloat16.

    >>> weights = jnp.arange(2.0)[:, None, None] * jnp.ones((2, 3, 4))
    >>> expert_linear(jnp.ones((3, 4)), weights, jnp.array([1, 0, 1]))[:, 0].tolist()
    [4.0, 0.0, 4.0]
    """
    return _linear(narrowed(x), weights, ids).astype(x.dtype) if bfloat16 else _linear(x, weights, ids)


def expert_contract(
    vectors: Float[Array, "row d_out"], weights: Float[Array, "expert d_out d_in"], ids: Int[Array, " row"]
) -> Float[Array, "row d_in"]:
    """``x W`` likewise: vectors as the inputs of their own experts' output matrices see them."""
    return _contract(vectors, weights, ids)


def of_chosen(
    function: Callable[[Float[Array, "d_out d_in"]], Float[Array, "*lead d_in"]],
    weights: Float[Array, "expert d_out d_in"],
    ids: Int[Array, "batch position slot"],
    dtype: Any,
) -> Float[Array, "*lead batch position neuron"]:
    """What depends on one expert's weights alone, for each chosen expert: the slots' numbers stand behind each other.

    Of every expert once, and then looked up; where fewer are chosen than there are, of each of those.

    Args:
        function: from one expert's weights, in `dtype`, to numbers for each of its neurons.
    """

    def one(weight: jax.Array) -> jax.Array:
        return function(weight.astype(dtype))

    if ids.size < weights.shape[0]:
        each = jax.lax.map(lambda expert: one(weights[expert]), ids.ravel())
    else:
        each = jnp.take(jax.lax.map(one, weights), ids.ravel(), axis=0)
    lead = each.shape[1:-1]
    each = jnp.moveaxis(each, 0, len(lead))  # the functions' axes first
    return each.reshape(*lead, *ids.shape[:-1], -1)


def _grouped(inputs_last: bool) -> Callable[[jax.Array, jax.Array, jax.Array], jax.Array]:
    """Rows times their experts' weights along the last axis of those, or the middle one, with ``vmap`` and ``grad``."""

    @custom_vmap
    def mapped(rows: jax.Array, weights: jax.Array, ids: jax.Array) -> jax.Array:
        def blocks(rows: jax.Array, weights: jax.Array, ids: jax.Array) -> jax.Array:
            return _in_blocks(rows, weights, ids, inputs_last)

        def ragged(rows: jax.Array, weights: jax.Array, ids: jax.Array) -> jax.Array:
            return _ragged(rows, weights, ids, inputs_last)

        return on_cpu(blocks, ragged, rows, weights, ids)

    @mapped.def_vmap
    def rule(size: int, batched: list[bool], *args: jax.Array) -> tuple[jax.Array, bool]:
        rows, weights, ids = args
        rows, ids = (_repeated(x, size, own) for x, own in ((rows, batched[0]), (ids, batched[2])))
        if batched[1]:
            return jax.lax.map(lambda each: mapped(*each), (rows, weights, ids)), True
        out = mapped(rows.reshape(-1, rows.shape[-1]), weights, ids.ravel())
        return out.reshape(size, -1, out.shape[-1]), True

    product = jax.custom_vjp(mapped)

    def forward(rows: jax.Array, weights: jax.Array, ids: jax.Array) -> tuple[jax.Array, Any]:
        return product(rows, weights, ids), (rows, weights, ids)

    def backward(kept: Any, slope: jax.Array) -> tuple[Any, ...]:
        rows, weights, ids = kept
        wide = rows.astype(slope.dtype)
        outer = _outer(slope, wide, ids, weights) if inputs_last else _outer(wide, slope, ids, weights)
        of_rows = (_contract if inputs_last else _linear)(slope, weights, ids)
        return of_rows.astype(rows.dtype), outer.astype(weights.dtype), _no_slope(ids)

    product.defvjp(forward, backward)
    return product


_linear, _contract = _grouped(True), _grouped(False)


@jax.custom_vjp
def _outer(outputs: jax.Array, inputs: jax.Array, ids: jax.Array, like: jax.Array) -> jax.Array:
    """``Σ outputs ⊗ inputs`` over the rows of each expert, of the shape of its weights."""
    return _outer_mapped(outputs, inputs, ids, like)


def _outer_forward(outputs: jax.Array, inputs: jax.Array, ids: jax.Array, like: jax.Array) -> tuple[jax.Array, Any]:
    return _outer(outputs, inputs, ids, like), (outputs, inputs, ids, like)


def _outer_backward(kept: Any, slope: jax.Array) -> tuple[Any, ...]:
    outputs, inputs, ids, like = kept
    return _linear(inputs, slope, ids), _contract(outputs, slope, ids), _no_slope(ids), jnp.zeros_like(like)


_outer.defvjp(_outer_forward, _outer_backward)


@custom_vmap
def _outer_mapped(outputs: jax.Array, inputs: jax.Array, ids: jax.Array, like: jax.Array) -> jax.Array:
    order, _, counts = _sorted(ids, like.shape[0])
    numbers = jax.lax.RaggedDotDimensionNumbers((((0,), (0,)), ((), ())), [0], [])
    return jax.lax.ragged_dot_general(outputs[order], inputs[order], counts, numbers)


@_outer_mapped.def_vmap
def _outer_of_each(size: int, batched: list[bool], *args: jax.Array) -> tuple[jax.Array, bool]:
    each = tuple(_repeated(x, size, own) for x, own in zip(args, batched, strict=True))
    return jax.lax.map(lambda one: _outer_mapped(*one), each), True


def _no_slope(ids: jax.Array) -> np.ndarray:
    return np.zeros(ids.shape, jax.dtypes.float0)


def _repeated(x: jax.Array, size: int, batched: bool) -> jax.Array:
    return x if batched else jnp.broadcast_to(x, (size, *x.shape))


def _sorted(ids: jax.Array, experts: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The order of rows by their experts, each row's place in it, and how many rows each expert has."""
    order = jnp.argsort(ids).astype(jnp.int32)
    return order, jnp.argsort(order).astype(jnp.int32), jnp.bincount(ids, length=experts).astype(jnp.int32)


def _ragged(rows: jax.Array, weights: jax.Array, ids: jax.Array, inputs_last: bool) -> jax.Array:
    order, place, counts = _sorted(ids, weights.shape[0])
    numbers = jax.lax.RaggedDotDimensionNumbers((((1,), (2 if inputs_last else 1,)), ((), ())), [0], [0])
    weights = _like(weights, rows)
    found = jax.lax.ragged_dot_general(rows[order], weights, counts, numbers, preferred_element_type=_sum_type(rows))
    return found[place]


def _like(weight: jax.Array, rows: jax.Array) -> jax.Array:
    return narrowed(weight) if rows.dtype == jnp.bfloat16 else weight.astype(rows.dtype)


def _sum_type(rows: jax.Array) -> jnp.dtype:
    """Of products: float32 at least."""
    return jnp.dtype(jnp.float32) if rows.dtype.itemsize < 4 else rows.dtype


def _in_blocks(rows: jax.Array, weights: jax.Array, ids: jax.Array, inputs_last: bool) -> jax.Array:
    """Blocks of sorted rows, each of one expert, filled up with others' rows; those without an own row are left out."""
    count, experts = len(rows), weights.shape[0]
    size = min(1 << max(count // experts, 1).bit_length() - 1, LARGEST_BLOCK)
    order, place, counts = _sorted(ids, experts)
    blocks = (counts + size - 1) // size
    first_row, first_block = jnp.cumsum(counts) - counts, jnp.cumsum(blocks) - blocks
    most = (count + min(experts, count) * (size - 1)) // size
    number = jnp.arange(most, dtype=jnp.int32)
    expert = jnp.sum(jnp.cumsum(blocks)[None] <= number[:, None], axis=1, dtype=jnp.int32)
    used, expert = expert < experts, jnp.minimum(expert, experts - 1)
    start = first_row[expert] + (number - first_block[expert]) * size
    mine = jnp.take(order, start[:, None] + jnp.arange(size, dtype=jnp.int32)[None], mode="clip")

    def block(part: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        mine, expert, used = part

        def product() -> jax.Array:
            numbers = (((1,), (1 if inputs_last else 0,)), ((), ()))
            weight = _like(weights[expert], rows)
            return jax.lax.dot_general(rows[mine], weight, numbers, preferred_element_type=_sum_type(rows))

        shape = jax.eval_shape(product)
        return jax.lax.cond(used, product, lambda: jnp.zeros(shape.shape, shape.dtype))

    found = jax.lax.map(block, (mine, expert, used))
    within = place - first_row[ids]
    where = (first_block[ids] + within // size) * size + within % size
    return found.reshape(-1, found.shape[-1])[where]
