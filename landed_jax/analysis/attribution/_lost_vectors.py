"""What the stream loses with one write, as a vector: where little is left, products have lost their digits."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from landed_jax.nn.layer_writes import LayerWrites
from landed_jax.nn.per_write import PerWrite
from landed_jax.nn.scale_change import NEARLY_NOTHING_LEFT

Vector = Float[Array, "_ _ d_model"]


class LostVectors(NamedTuple):
    """Of one layer: of the head and the neuron that leave least behind, and of the biases (None without them).

    Attributes:
        head, neuron: which they are.
        written: what each adds to the stream: head, neuron, attention bias, MLP bias.
        lost: what the stream loses without each: the same, unless an output norm scales what is left.
    """

    head: Int[Array, "batch position"]
    neuron: Int[Array, "batch position"]
    written: tuple[Vector, Vector, Vector | None, Vector | None]
    lost: tuple[Vector, Vector, Vector | None, Vector | None]


def lost_vectors(writes: LayerWrites, least: PerWrite) -> LostVectors:
    """Of one layer.

    Args:
        least: ``σ′²/σ² − 1`` without each write, where it is the norm that reads the write or the one behind it.
    """
    head, neuron = (jnp.argmin(delta, axis=-1).astype(jnp.int32) for delta in (least.heads, least.neurons))
    written = writes.head(head), writes.neuron(neuron), *writes.biases()
    if writes.attn.sigma is None:
        return LostVectors(head, neuron, written, written)
    parts = writes.before_output_norm()
    # What stays is summed from the others: a difference of two nearly equal outputs would have no digits.
    one = jnp.ones_like(least.attn_bias)
    heads, neurons = (
        1 - jax.nn.one_hot(index, delta.shape[-1], dtype=one.dtype)
        for index, delta in ((head, least.heads), (neuron, least.neurons))
    )
    rests = parts.weighted_sums(PerWrite.of_layers(heads, neurons, one, one))
    unbiased = parts.weighted_sums(PerWrite.of_layers(one[..., None], one[..., None], one * 0, one * 0))
    put_out = parts.head(head), parts.neuron(neuron), *parts.biases()
    wholes, scales = (parts.attn_write(), parts.mlp_write()) * 2, (writes.attn, writes.mlp) * 2
    lost = (
        None if part is None else scale.lost(whole, part, rest)
        for scale, whole, part, rest in zip(scales, wholes, put_out, (*rests, *unbiased), strict=True)
    )
    return LostVectors(head, neuron, written, tuple(lost))  # pyright: ignore[reportArgumentType]  # of four


def little_left(least: PerWrite) -> jax.Array:
    """Whether without any write so little is left that closed forms have lost their digits."""
    return jnp.stack([jnp.min(delta) for delta in jax.tree.leaves(least)]).min() < NEARLY_NOTHING_LEFT - 1
