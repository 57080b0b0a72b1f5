"""What one layer writes, held as its factors: for analyses the only access to ``W_O``, ``W_down`` and output biases.

A new kind of write (an output norm, a multiplier, an expert) is a change of this file, and of no analysis. Products
that depend on the weights alone wait for the layer's own turn, so that XLA does not compute and hold those of all
layers at once.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from landed_jax.nn.config import ModelConfig
from landed_jax.nn.functions import centred
from landed_jax.nn.output_scale import OutputScale
from landed_jax.nn.per_write import PerWrite
from landed_jax.nn.products import column_norms, contract_output, head_grams, linear, squares_by_gram
from landed_jax.nn.schedule import after, cast_late
from landed_jax.nn.weight_norms import WeightNorms
from landed_jax.numerics import left_broadcast


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LayerWrites:
    """The writes of one layer: head h puts out ``z_h W_O[h]``, neuron j ``a_j W_down[j]``, each scaled as it is added.

    Attributes:
        layer: which layer, a scalar.
        z: the heads' mixed values.
        a: the neurons' activations.
        W_O, W_down: the output matrices, outputs first, in their own float type.
        b_O, b_down: the output biases; None in a model without them.
        attn, mlp: the scales between what attention and the MLP put out and what they add to the stream.
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
    attn: OutputScale
    mlp: OutputScale
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
        scales: tuple[OutputScale, OutputScale],
        at: jax.Array,
        mask: jax.Array,
        norms: WeightNorms | None = None,
    ) -> "LayerWrites":
        """From one layer's parameters, its factors and scales at the columns `at`, and the whole prompts' mask."""
        attn, mlp = part["attn"], part["mlp"]
        real = jnp.take(mask, at, axis=1)
        leaves = attn["W_O"], mlp["W_down"], attn.get("b_O"), mlp.get("b_down")
        return cls(layer, z, a, *leaves, *scales, at, real, norms)

    def before_output_norm(self) -> "LayerWrites":
        """What heads, neurons and biases put out, as if it were added as it is."""
        norms = None if self.norms is None else self.norms.before
        return dataclasses.replace(self, attn=OutputScale(), mlp=OutputScale(), norms=norms)

    @property
    def amounts(self) -> PerWrite:
        """What a unit of each write's direction is multiplied with; of heads, whose directions vary, 1."""
        one = jnp.ones(self.z.shape[:2], self.z.dtype)
        return PerWrite.of_layers(
            one[..., None], self.mlp.times_amount(self.a), self.attn.times_amount(one), self.mlp.times_amount(one)
        )

    def centred(self) -> "LayerWrites":
        """The same writes, each without its mean over the coordinates: what LayerNorm sees of them."""
        W_O, W_down = (after(cast_late(leaf, self.z), self.z) for leaf in (self.W_O, self.W_down))
        biases = (None if b is None else centred(b.astype(self.z.dtype)) for b in (self.b_O, self.b_down))
        b_O, b_down = biases
        return dataclasses.replace(
            self, W_O=centred(W_O, axis=0), W_down=centred(W_down, axis=0), b_O=b_O, b_down=b_down
        )

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
            together = jnp.concatenate(vectors, axis=1)
            parts = (jnp.split(seen, len(vectors), axis=1) for seen in self._seen_from(together, together))
            seen = zip(*parts, strict=True)
        else:
            seen = (self._seen_from(vector, vector) for vector in vectors)
        pairs = zip(vectors, seen, strict=True)
        return [self._products(vector, vector, *at_factors) for vector, at_factors in pairs]

    def inner_products_by_part(self, attn: Float[Array, "_ _ d_model"], mlp: Float[Array, "_ _ d_model"]) -> PerWrite:
        """`inner_products` of attention's writes with one vector, and of the MLP's with another."""
        attn, mlp = after(attn, self.z), after(mlp, self.z)
        return self._products(attn, mlp, *self._seen_from(attn, mlp))

    def by_source(
        self,
        vector: Float[Array, "_ _ d_model"],
        pattern: Float[Array, "batch head position source"],
        value: Float[Array, "batch source kv_head head_dim"],
    ) -> Float[Array, "batch position head source"]:
        """``⟨A[q,k] v_k W_O[h], vector⟩``: each head's inner product, split over the tokens that it attends to."""
        at_heads = self._seen_from_heads(after(vector, self.z))
        heads, head_dim = at_heads.shape[2:]
        kv_heads = value.shape[2]
        grouped = at_heads.reshape(*vector.shape[:2], kv_heads, heads // kv_heads, head_dim)
        grouped = jnp.broadcast_to(grouped, (value.shape[0], *grouped.shape[1:]))
        seen = jnp.einsum("bqhgd,bkhd->bqhgk", grouped, value)
        split = jnp.swapaxes(pattern, 1, 2) * seen.reshape(*seen.shape[:2], heads, -1)
        return self.attn.times_amount(split)

    @property
    def factors(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        """What `along` takes of each position: z, a and the biases' amounts, as they are added."""
        amounts = self.amounts
        biases = jnp.stack([amounts.attn_bias, amounts.mlp_bias], axis=-1)
        return self.attn.times_amount(self.z), amounts.neurons, biases

    def along(self, rows: Float[Array, "row d_model"]) -> Callable[[jax.Array, jax.Array, jax.Array], jax.Array]:
        """A function from one position's `factors` to ``[row, write]``: ``⟨w, row⟩`` of all writes (`flat`)."""
        at_heads, at_neurons = (seen[0] for seen in self._seen_from(rows[None], rows[None]))
        units = jnp.stack([rows @ bias for bias in self._biases()], axis=-1)

        def products(z: Float[Array, "head head_dim"], a: Float[Array, " neuron"], biases: jax.Array) -> jax.Array:
            heads = jnp.sum(at_heads * z[None], axis=-1)
            return jnp.concatenate([heads, at_neurons * a[None], units * biases[None]], axis=-1)

        return products

    def squared_norms(self) -> PerWrite:
        """``⟨w, w⟩`` for every write of the layer.

        A neuron's is its squared activation times that of its column; a head's comes from its Gram matrix
        ``W_O[h]ᵀ W_O[h]``. Both are in `norms`, or are computed here; but the heads of a position or two are written
        out, which is less work than Gram matrices.
        """
        amounts, biases = self.amounts, self._biases()
        return PerWrite.of_layers(
            heads=self._head_norms(),
            neurons=jnp.square(amounts.neurons) * self.column_norms()[None, None],
            attn_bias=jnp.square(amounts.attn_bias) * (biases[0] @ biases[0]),
            mlp_bias=jnp.square(amounts.mlp_bias) * (biases[1] @ biases[1]),
        )

    def column_norms(self) -> Float[Array, " neuron"]:
        """The squared norm of each column of ``W_down``, times the output norm's gain where there is one."""
        if self.norms is not None:
            return self.norms.neurons
        return column_norms(_with_gain(cast_late(self.W_down, self.a), self.mlp))

    def squares_per_activation(self) -> Float[Array, "_ _ neuron"]:
        """The squared norm of each neuron's write per squared activation; axes of size 1 where positions are alike."""
        norms = self.column_norms()[None, None]
        if self.mlp.sigma is None:
            return norms * self.mlp.factor**2
        return norms * jnp.square(self.amounts.mlp_bias)[..., None]

    def weighted_squares(self, weights: Float[Array, "weight d_model"]) -> PerWrite:
        """``Σ_k weight_k w_k²`` with each of several weights, along a leading axis, in units of `amounts`².

        A neuron's is that of its column, and a bias's that of the bias: the same at every prompt and position, so those
        axes have size 1. Heads go by Gram matrices ``W_O[h]ᵀ diag(weight) W_O[h]`` where there are more positions than
        head coordinates, otherwise by the writes themselves, whichever is less work.
        """
        z = self.attn.times_amount(self.z)
        batch, position, _, head_dim = z.shape
        W_O, W_down = self._output_matrices()
        if batch * position < head_dim:
            squares = jnp.square(jnp.einsum("bphk,mhk->bphm", z, W_O))
            heads = jnp.einsum("bphm,wm->wbph", squares, weights)
        else:
            heads = jnp.stack([squares_by_gram(z, head_grams(W_O, weight)) for weight in weights])
        neurons = contract_output(weights, jnp.square(W_down))[:, None, None]
        biases = ((weights @ jnp.square(bias))[:, None, None] for bias in self._biases())
        return PerWrite.of_layers(heads, neurons, *biases)

    def squares_along(self, directions: Float[Array, "direction d_model"]) -> PerWrite:
        """``Σ_k ⟨w, direction_k⟩²``; of neurons and biases as in `weighted_squares`."""
        W_O, W_down = self._output_matrices()
        z = self.attn.times_amount(self.z)
        seen = jnp.einsum("bphi,khi->bphk", z, jnp.einsum("km,mhi->khi", directions, W_O))
        biases = [bias @ directions.T for bias in self._biases()]
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
            *(jnp.any(bias != 0)[None, None] for bias in self._biases()),
        )

    def attn_write(self, head_by_head: bool = False) -> Float[Array, "batch position d_model"]:
        """The sum of all heads' writes and the attention bias.

        Args:
            head_by_head: add one head's write after another's, as the writes are defined, and not by the model's own
                product of all heads.
        """
        z = self.z
        if not head_by_head:
            return self.attn.written(self._with_bias(linear(z.reshape(*z.shape[:2], -1), self._flat_W_O()), self.b_O))

        def add_head(total: jax.Array, head: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
            return total + linear(*head), None

        heads = self._by_head()
        first, others = jax.tree.map(lambda leaf: leaf[0], heads), jax.tree.map(lambda leaf: leaf[1:], heads)
        return self.attn.written(self._with_bias(jax.lax.scan(add_head, linear(*first), others)[0], self.b_O))

    def mlp_write(self) -> Float[Array, "batch position d_model"]:
        """The sum of all neurons' writes and the MLP bias."""
        return self.mlp.written(self._with_bias(linear(self.a, self.W_down), self.b_down))

    def weighted_sums(self, weights: PerWrite) -> tuple[jax.Array, jax.Array]:
        """``Σ weight · w`` over attention's and over the MLP's writes; axes of size 1 in the weights stand for all."""
        z = self.z * weights.heads[..., None]
        attn, mlp = linear(z.reshape(*z.shape[:2], -1), self._flat_W_O()), linear(self.a * weights.neurons, self.W_down)
        if self.b_O is not None:
            attn = attn + weights.attn_bias[..., None] * self.b_O.astype(attn.dtype)[None, None]
        if self.b_down is not None:
            mlp = mlp + weights.mlp_bias[..., None] * self.b_down.astype(mlp.dtype)[None, None]
        return self.attn.written(attn), self.mlp.written(mlp)

    def for_each_head(self, function: Callable[[jax.Array], jax.Array]) -> Float[Array, "*shape head"]:
        """``function(write)`` of each head's write ``[batch, position, d_model]``, one head at a time."""

        def one(head: tuple[jax.Array, jax.Array]) -> jax.Array:
            return function(self.attn.written(linear(*head)))

        return jnp.moveaxis(jax.lax.map(one, self._by_head()), 0, -1)

    def head(self, index: Int[Array, "batch position"]) -> Float[Array, "batch position d_model"]:
        """At each position the write of one head."""
        z = self.z
        alone = z * jax.nn.one_hot(index, z.shape[2], dtype=z.dtype)[..., None]
        return self.attn.written(linear(alone.reshape(*z.shape[:2], -1), self._flat_W_O()))

    def neuron(self, index: Int[Array, "batch position"]) -> Float[Array, "batch position d_model"]:
        """At each position the write of one neuron."""
        column = jnp.moveaxis(jnp.take(self.W_down, index, axis=1), 0, -1).astype(self.a.dtype)
        return self.mlp.written(column * jnp.take_along_axis(self.a, index[..., None], axis=-1))

    def biases(self) -> tuple[jax.Array | None, jax.Array | None]:
        """The attention and the MLP bias as writes ``[batch, position, d_model]``; None in a model without them."""
        pairs = ((self.b_O, self.attn), (self.b_down, self.mlp))
        shape = (*self.z.shape[:2], self.W_O.shape[0])
        attn, mlp = (
            None if leaf is None else scale.written(jnp.broadcast_to(leaf.astype(self.z.dtype), shape))
            for leaf, scale in pairs
        )
        return attn, mlp

    def _products(self, attn: jax.Array, mlp: jax.Array, at_heads: jax.Array, at_neurons: jax.Array) -> PerWrite:
        of_attn, of_mlp = (vector @ bias for vector, bias in zip((attn, mlp), self._biases(), strict=True))
        return PerWrite.of_layers(
            heads=self.attn.times_amount(jnp.vecdot(self.z, at_heads)),
            neurons=self.mlp.times_amount(self.a * at_neurons),
            attn_bias=self.attn.times_amount(jnp.broadcast_to(of_attn, self.z.shape[:2])),
            mlp_bias=self.mlp.times_amount(jnp.broadcast_to(of_mlp, self.z.shape[:2])),
        )

    def _seen_from(self, attn: jax.Array, mlp: jax.Array) -> tuple[jax.Array, jax.Array]:
        """A vector as each head's factor meets it, and one as each neuron's does, up to the position's amount."""
        return self._seen_from_heads(attn), contract_output(self.mlp.times_gain(mlp), self.W_down)

    def _seen_from_heads(self, vector: jax.Array) -> jax.Array:
        seen = contract_output(self.attn.times_gain(vector), self._flat_W_O())
        return seen.reshape(*vector.shape[:2], *self.W_O.shape[1:])

    def _output_matrices(self) -> tuple[jax.Array, jax.Array]:
        """``W_O`` and ``W_down`` with the output norms' gains; made when the layer's turn comes."""
        W_O, W_down = (after(cast_late(leaf, self.z), self.z) for leaf in (self.W_O, self.W_down))
        return _with_gain(W_O, self.attn), _with_gain(W_down, self.mlp)

    def _flat_W_O(self) -> Float[Array, "d_model inputs"]:
        return self.W_O.reshape(self.W_O.shape[0], -1)

    def _by_head(self) -> tuple[jax.Array, jax.Array]:
        """z and ``W_O`` with the head axis first."""
        W_O = after(cast_late(self.W_O, self.z), self.z)
        return jnp.moveaxis(self.z, 2, 0), jnp.moveaxis(W_O, 1, 0)

    def _head_norms(self) -> Float[Array, "batch position head"]:
        z, heads = self.attn.times_amount(self.z), self.z.shape[2]
        if self.norms is None and math.prod(z.shape[:3]) <= z.shape[3]:
            alone = jnp.where(jnp.eye(heads, dtype=bool)[None, None, :, :, None], z[:, :, None], 0)
            written = linear(alone.reshape(*z.shape[:3], -1), self._flat_W_O())
            return jnp.sum(jnp.square(self.attn.times_gain(written)), axis=-1)
        gram = _grams(cast_late(self.W_O, z), self.attn) if self.norms is None else self.norms.heads
        return squares_by_gram(z, gram)

    def _biases(self) -> tuple[Float[Array, " d_model"], Float[Array, " d_model"]]:
        """The attention and the MLP bias with the output norms' gains, per unit of `amounts`; 0 where there is none."""
        nothing = jnp.zeros(self.W_O.shape[0], self.z.dtype)
        pairs = ((self.b_O, self.attn), (self.b_down, self.mlp))
        attn, mlp = (nothing if b is None else scale.times_gain(b.astype(self.z.dtype)) for b, scale in pairs)
        return attn, mlp

    def _with_bias(self, written: jax.Array, bias: jax.Array | None) -> jax.Array:
        return written if bias is None else written + left_broadcast(bias.astype(written.dtype), written)


def _with_gain(weight: Float[Array, "d_model *inputs"], scale: OutputScale) -> Float[Array, "d_model *inputs"]:
    return weight if scale.gain is None else weight * jnp.expand_dims(scale.gain, tuple(range(1, weight.ndim)))


def _grams(W_O: Float[Array, "d_model head head_dim"], scale: OutputScale) -> Float[Array, "head head_dim head_dim"]:
    return head_grams(W_O) if scale.gain is None else head_grams(W_O, jnp.square(scale.gain).astype(W_O.dtype))


def layer_norms(part: Any, config: ModelConfig, dtype: Any) -> WeightNorms:
    """`WeightNorms` of one layer's parameters."""
    W_O, W_down = part["attn"]["W_O"].astype(dtype), part["mlp"]["W_down"].astype(dtype)
    if config.norm == "layer":
        W_O, W_down = (centred(leaf, axis=0) for leaf in (W_O, W_down))
    plain = WeightNorms(head_grams(W_O), column_norms(W_down))
    if not config.output_norms:
        return plain
    gains = (part[f"{site}_out_norm"]["gamma"].astype(dtype) + config.gain_offset for site in ("attn", "mlp"))
    attn, mlp = (OutputScale(gain=gain) for gain in gains)
    return WeightNorms(_grams(W_O, attn), column_norms(_with_gain(W_down, mlp)), plain)


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
