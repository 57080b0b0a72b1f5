"""What one layer writes, held as its factors: for analyses the only access to ``W_O``, ``W_down`` and output biases.

A new kind of write (an output norm, a multiplier, an expert) is a change of this file, and of no analysis. Products
that depend on the weights alone wait for the layer's own turn, so that XLA does not compute and hold those of all
layers at once.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from landed_jax.nn.per_write import PerWrite
from landed_jax.nn.products import column_norms, contract_output, head_grams, linear, squares_by_gram
from landed_jax.nn.schedule import after, cast_late
from landed_jax.nn.weight_norms import WeightNorms
from landed_jax.numerics import left_broadcast


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LayerWrites:
    """The writes of one layer: head h writes ``z_h W_O[h]``, neuron j writes ``a_j W_down[j]``.

    Attributes:
        layer: which layer, a scalar.
        z: the heads' mixed values.
        a: the neurons' activations.
        W_O, W_down: the output matrices, outputs first, in their own float type.
        b_O, b_down: the output biases; None in a model without them.
        at: the positions' columns in the tokens.
        real: False on padding, whose factors are numbers too: counts and sums over positions leave them out.
        norms: what the weights alone give to the writes' norms, where it was computed before.
    """

    layer: Int[Array, ""]
    z: Float[Array, "batch position head head_dim"]
    a: Float[Array, "batch position neuron"]
    W_O: Float[Array, "d_model head head_dim"]
    W_down: Float[Array, "d_model neuron"]
    b_O: Float[Array, " d_model"] | None
    b_down: Float[Array, " d_model"] | None
    at: Int[Array, " position"]
    real: Bool[Array, "batch position"]
    norms: WeightNorms | None = None

    @classmethod
    def of(
        cls,
        layer: Any,
        part: Any,
        z: jax.Array,
        a: jax.Array,
        at: jax.Array,
        mask: jax.Array,
        norms: WeightNorms | None = None,
    ) -> "LayerWrites":
        """From one layer's parameters, its factors at the columns `at`, and the whole prompts' mask."""
        attn, mlp = part["attn"], part["mlp"]
        real = jnp.take(mask, at, axis=1)
        return cls(layer, z, a, attn["W_O"], mlp["W_down"], attn.get("b_O"), mlp.get("b_down"), at, real, norms)

    def inner_products(self, vector: Float[Array, "*at d_model"]) -> PerWrite:
        """``⟨w, vector⟩`` for every write of the layer: one product of the size of ``W_O`` and one of ``W_down``.

        Args:
            vector: ``[d_model]``, or one a position, ``[batch or 1, position or 1, d_model]``: what is the same for
                all costs a single product.
        """
        return self.inner_products_with((vector.reshape((1,) * (3 - vector.ndim) + vector.shape),))[0]

    def inner_products_with(self, vectors: Sequence[Float[Array, "_ _ d_model"]]) -> list[PerWrite]:
        """`inner_products` with each of several vectors; those of one shape read the output matrices once.

        But a single row goes alone: it may be a target under ``vmap``, and the others must not be batched with it.
        """
        # They wait for nothing but the vectors.
        vectors = [after(vector, self.z) for vector in vectors]
        alike = len({vector.shape for vector in vectors}) == 1
        if len(vectors) > 1 and alike and vectors[0].size > vectors[0].shape[-1]:
            heads, neurons = self._seen_from(jnp.concatenate(vectors, axis=1))
            parts = (jnp.split(seen, len(vectors), axis=1) for seen in (heads, neurons))
            seen = zip(*parts, strict=True)
        else:
            seen = map(self._seen_from, vectors)
        return [
            PerWrite.of_layers(
                heads=jnp.vecdot(self.z, at_heads),
                neurons=self.a * at_neurons,
                attn_bias=self._constant(self.b_O, vector),
                mlp_bias=self._constant(self.b_down, vector),
            )
            for vector, (at_heads, at_neurons) in zip(vectors, seen, strict=True)
        ]

    def by_source(
        self,
        vector: Float[Array, "_ _ d_model"],
        pattern: Float[Array, "batch head position source"],
        value: Float[Array, "batch source kv_head head_dim"],
    ) -> Float[Array, "batch position head source"]:
        """``⟨A[q,k] v_k W_O[h], vector⟩``: each head's inner product, split over the tokens that it attends to."""
        at_heads, _ = self._seen_from(after(vector, self.z))
        heads, head_dim = at_heads.shape[2:]
        kv_heads = value.shape[2]
        grouped = at_heads.reshape(*vector.shape[:2], kv_heads, heads // kv_heads, head_dim)
        grouped = jnp.broadcast_to(grouped, (value.shape[0], *grouped.shape[1:]))
        seen = jnp.einsum("bqhgd,bkhd->bqhgk", grouped, value)
        return jnp.swapaxes(pattern, 1, 2) * seen.reshape(*seen.shape[:2], heads, -1)

    def along(self, rows: Float[Array, "row d_model"]) -> Callable[[jax.Array, jax.Array], jax.Array]:
        """A function from one position's factors z and a to ``[row, write]``: ``⟨w, row⟩`` of all writes (`flat`)."""
        at_heads, at_neurons = self._seen_from(rows[None])
        at_heads, at_neurons = at_heads[0], at_neurons[0]
        biases = [rows[:, 0] * 0 if b is None else rows @ b.astype(rows.dtype) for b in (self.b_O, self.b_down)]

        def products(z: Float[Array, "head head_dim"], a: Float[Array, " neuron"]) -> jax.Array:
            heads = jnp.sum(at_heads * z[None], axis=-1)
            return jnp.concatenate([heads, at_neurons * a[None], jnp.stack(biases, axis=-1)], axis=-1)

        return products

    def squared_norms(self) -> PerWrite:
        """``⟨w, w⟩`` for every write of the layer.

        A neuron's is its squared activation times that of its column; a head's comes from its Gram matrix
        ``W_O[h]ᵀ W_O[h]``. Both are in `norms`, or are computed here; but the heads of a position or two are written
        out, which is less work than Gram matrices.
        """
        return PerWrite.of_layers(
            heads=self._head_norms(),
            neurons=jnp.square(self.a) * self.column_norms()[None, None],
            attn_bias=self._constant(self.b_O, None),
            mlp_bias=self._constant(self.b_down, None),
        )

    def column_norms(self) -> Float[Array, " neuron"]:
        """The squared norm of each column of ``W_down``."""
        return column_norms(cast_late(self.W_down, self.a)) if self.norms is None else self.norms.neurons

    def weighted_squares(self, weights: Float[Array, "weight d_model"]) -> PerWrite:
        """``Σ_k weight_k w_k²`` with each of several weights, along a leading axis.

        A neuron's is that of its column, and a bias's that of the bias: the same at every prompt and position, so those
        axes have size 1. Heads go by Gram matrices ``W_O[h]ᵀ diag(weight) W_O[h]`` where there are more positions than
        head coordinates, otherwise by the writes themselves, whichever is less work.
        """
        z = self.z
        batch, position, _, head_dim = z.shape
        W_O, W_down = (after(cast_late(leaf, z), z) for leaf in (self.W_O, self.W_down))
        if batch * position < head_dim:
            squares = jnp.square(jnp.einsum("bphk,mhk->bphm", z, W_O))
            heads = jnp.einsum("bphm,wm->wbph", squares, weights)
        else:
            heads = jnp.stack([squares_by_gram(z, head_grams(W_O, weight)) for weight in weights])
        neurons = contract_output(weights, jnp.square(W_down))[:, None, None]
        return PerWrite.of_layers(heads, neurons, *(self._of_bias(b, weights) for b in (self.b_O, self.b_down)))

    def squares_along(self, directions: Float[Array, "direction d_model"]) -> PerWrite:
        """``Σ_k ⟨w, direction_k⟩²``; of neurons and biases as in `weighted_squares`."""
        W_O, W_down = (after(cast_late(leaf, self.z), self.z) for leaf in (self.W_O, self.W_down))
        seen = jnp.einsum("bphi,khi->bphk", self.z, jnp.einsum("km,mhi->khi", directions, W_O))
        biases = [self._bias(b) @ directions.T for b in (self.b_O, self.b_down)]
        return PerWrite.of_layers(
            jnp.sum(jnp.square(seen), axis=-1),
            jnp.sum(jnp.square(directions @ W_down), axis=0)[None, None],
            *(jnp.sum(jnp.square(bias), axis=-1)[None, None] for bias in biases),
        )

    def weights_not_zero(self) -> PerWrite:
        """Whether a write's output weights are not all 0, for all prompts and positions (axes of size 1)."""
        return PerWrite.of_layers(
            jnp.any(self.W_O != 0, axis=(0, 2))[None, None],
            jnp.any(self.W_down != 0, axis=0)[None, None],
            *(jnp.any(self._bias(b) != 0)[None, None] for b in (self.b_O, self.b_down)),
        )

    def attn_write(self, head_by_head: bool = False) -> Float[Array, "batch position d_model"]:
        """The sum of all heads' writes and the attention bias.

        Args:
            head_by_head: add one head's write after another's, as the writes are defined, and not by the model's own
                product of all heads.
        """
        z = self.z
        if not head_by_head:
            return self._with_bias(linear(z.reshape(*z.shape[:2], -1), self._flat_W_O()), self.b_O)

        def add_head(total: jax.Array, head: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
            return total + linear(*head), None

        heads = self._by_head()
        first, others = jax.tree.map(lambda leaf: leaf[0], heads), jax.tree.map(lambda leaf: leaf[1:], heads)
        return self._with_bias(jax.lax.scan(add_head, linear(*first), others)[0], self.b_O)

    def mlp_write(self) -> Float[Array, "batch position d_model"]:
        """The sum of all neurons' writes and the MLP bias."""
        return self._with_bias(linear(self.a, self.W_down), self.b_down)

    def weighted_sum(self, weights: PerWrite) -> Float[Array, "batch position d_model"]:
        """``Σ weight · w`` over the layer's writes; axes of size 1 in the weights stand for all of theirs."""
        z = self.z * weights.heads[..., None]
        total = linear(z.reshape(*z.shape[:2], -1), self._flat_W_O()) + linear(self.a * weights.neurons, self.W_down)
        for weight, bias in ((weights.attn_bias, self.b_O), (weights.mlp_bias, self.b_down)):
            if bias is not None:
                total = total + weight[..., None] * bias.astype(total.dtype)[None, None]
        return total

    def for_each_head(self, function: Callable[[jax.Array], jax.Array]) -> Float[Array, "*shape head"]:
        """``function(write)`` of each head's write ``[batch, position, d_model]``, one head at a time."""

        def one(head: tuple[jax.Array, jax.Array]) -> jax.Array:
            return function(linear(*head))

        return jnp.moveaxis(jax.lax.map(one, self._by_head()), 0, -1)

    def head(self, index: Int[Array, "batch position"]) -> Float[Array, "batch position d_model"]:
        """At each position the write of one head."""
        z = self.z
        alone = z * jax.nn.one_hot(index, z.shape[2], dtype=z.dtype)[..., None]
        return linear(alone.reshape(*z.shape[:2], -1), self._flat_W_O())

    def neuron(self, index: Int[Array, "batch position"]) -> Float[Array, "batch position d_model"]:
        """At each position the write of one neuron."""
        column = jnp.moveaxis(jnp.take(self.W_down, index, axis=1), 0, -1).astype(self.a.dtype)
        return column * jnp.take_along_axis(self.a, index[..., None], axis=-1)

    def biases(self) -> tuple[jax.Array | None, jax.Array | None]:
        """The attention and the MLP bias as writes ``[1, 1, d_model]``; None in a model without them."""
        leaves = (self.b_O, self.b_down)
        attn, mlp = (None if leaf is None else leaf.astype(self.z.dtype)[None, None] for leaf in leaves)
        return attn, mlp

    def _seen_from(self, vector: jax.Array) -> tuple[jax.Array, jax.Array]:
        """A vector as each head's and each neuron's factor meets it."""
        at_heads = contract_output(vector, self._flat_W_O()).reshape(*vector.shape[:2], *self.W_O.shape[1:])
        return at_heads, contract_output(vector, self.W_down)

    def _flat_W_O(self) -> Float[Array, "d_model inputs"]:
        return self.W_O.reshape(self.W_O.shape[0], -1)

    def _by_head(self) -> tuple[jax.Array, jax.Array]:
        """z and ``W_O`` with the head axis first."""
        W_O = after(cast_late(self.W_O, self.z), self.z)
        return jnp.moveaxis(self.z, 2, 0), jnp.moveaxis(W_O, 1, 0)

    def _head_norms(self) -> Float[Array, "batch position head"]:
        z, heads = self.z, self.z.shape[2]
        if self.norms is None and math.prod(z.shape[:3]) <= z.shape[3]:
            alone = jnp.where(jnp.eye(heads, dtype=bool)[None, None, :, :, None], z[:, :, None], 0)
            written = linear(alone.reshape(*z.shape[:3], -1), self._flat_W_O())
            return jnp.sum(jnp.square(written), axis=-1)
        gram = head_grams(cast_late(self.W_O, z)) if self.norms is None else self.norms.heads
        return squares_by_gram(z, gram)

    def _bias(self, bias: jax.Array | None) -> Float[Array, " d_model"]:
        return jnp.zeros(self.W_O.shape[0], self.z.dtype) if bias is None else bias.astype(self.z.dtype)

    def _with_bias(self, written: jax.Array, bias: jax.Array | None) -> jax.Array:
        return written if bias is None else written + left_broadcast(bias.astype(written.dtype), written)

    def _of_bias(self, bias: jax.Array | None, weights: jax.Array) -> Float[Array, "weight 1 1"]:
        return (weights @ jnp.square(self._bias(bias)))[:, None, None]

    def _constant(self, bias: jax.Array | None, vector: jax.Array | None) -> Float[Array, "batch position"]:
        """A bias's product with a vector, or with itself, at every position."""
        shape, dtype = self.z.shape[:2], self.z.dtype
        if bias is None:
            return jnp.zeros(shape, dtype)
        bias = bias.astype(dtype)
        return jnp.broadcast_to((bias if vector is None else vector) @ bias, shape)


def layer_norms(part: Any, dtype: Any) -> WeightNorms:
    """`WeightNorms` of one layer's parameters."""
    W_O, W_down = part["attn"]["W_O"], part["mlp"]["W_down"]
    return WeightNorms(head_grams(W_O.astype(dtype)), column_norms(W_down.astype(dtype)))


def output_weights(layers: Any, kind: str, layer: int, index: int) -> Array:
    """One write's own output weights, and no others: a head's ``[d_model, head_dim]``, or a neuron's ``[d_model]``.

    Args:
        layers: the layers' parameters, in either way of keeping them.
        kind: ``head`` or ``neuron``.
    """
    part, name = ("attn", "W_O") if kind == "head" else ("mlp", "W_down")
    return layers[part][name][layer][:, index] if "attn" in layers else layers[str(layer)][part][name][:, index]


def output_bias(layers: Any, kind: str, layer: int) -> Array | None:
    """One layer's ``attn_bias`` or ``mlp_bias``, ``[d_model]``; None in a model without it."""
    part, name = ("attn", "b_O") if kind == "attn_bias" else ("mlp", "b_down")
    leaf = layers[part].get(name) if "attn" in layers else layers[str(layer)][part].get(name)
    return leaf if leaf is None or "attn" not in layers else leaf[layer]
