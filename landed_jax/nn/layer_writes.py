"""What one layer writes, held as its factors: for analyses the only access to ``W_O``, ``W_down`` and output biases.

A new kind of write (an output norm, a multiplier) is a change of this file, and of no analysis; which neurons a
position has (all of one MLP, or those of the experts that it chose) is that of `columns`. Products
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

from landed_jax.nn.columns import DenseColumns, ExpertColumns, columns_of
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.experts import Chosen
from landed_jax.nn.functions import centred
from landed_jax.nn.output_scale import OutputScale
from landed_jax.nn.per_write import PerWrite
from landed_jax.nn.products import column_norms, contract_output, head_by_head, head_grams, linear, squares_by_gram
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
        a: the neurons' activations; of experts those of the chosen ones, times the experts' weights.
        W_O, b_O: attention's output matrix, outputs first, in its own float type, and its bias or None.
        columns: the MLP's or the experts' output matrix and bias.
        attn, mlp: the scales between what attention and the MLP put out and what they add to the stream.
        at: the positions' columns in the tokens.
        real: False on padding, whose factors are numbers too: counts and sums over positions leave them out.
        norms: what the weights alone give to the writes' norms, where it was computed before.
    """

    layer: Int[Array, ""]
    z: Float[Array, "batch position head head_dim"]
    a: Float[Array, "batch position neuron"]
    W_O: Float[Array, "d_model head head_dim"]
    b_O: Float[Array, " d_model"] | None
    columns: DenseColumns | ExpertColumns
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
        chosen: Chosen | None = None,
    ) -> "LayerWrites":
        """From one layer's parameters, its factors and scales at the columns `at`, and the whole prompts' mask.

        Args:
            chosen: the experts of a model that has them.
        """
        attn, columns, real = part["attn"], columns_of(part, chosen), jnp.take(mask, at, axis=1)
        return cls(layer, z, a, attn["W_O"], attn.get("b_O"), columns, *scales, at, real, norms)

    @property
    def chosen(self) -> Chosen | None:
        """The experts that each position used; None in a model without experts."""
        return self.columns.chosen if isinstance(self.columns, ExpertColumns) else None

    def before_output_norm(self) -> "LayerWrites":
        """What heads, neurons and biases put out, as if it were added as it is."""
        norms = None if self.norms is None else self.norms.before
        return dataclasses.replace(self, attn=OutputScale(), mlp=OutputScale(), norms=norms)

    def attending_to(self, value: Float[Array, "batch source kv_head head_dim"]) -> "LayerWrites":
        """The heads as if each position, now a source, attended to itself alone; an output norm's σ′ is left out."""
        scale = dataclasses.replace(self.attn, sigma=None, factor=1)
        return dataclasses.replace(self, z=jnp.repeat(value, self.z.shape[2] // value.shape[2], axis=2), attn=scale)

    @property
    def amounts(self) -> PerWrite:
        """What a unit of each write's direction is multiplied with; of heads, whose directions vary, 1."""
        one = jnp.ones(self.z.shape[:2], self.z.dtype)
        return PerWrite.of_layers(
            one[..., None], self.mlp.times_amount(self.a), self.attn.times_amount(one), self.mlp.times_amount(one)
        )

    def centred(self) -> "LayerWrites":
        """The same writes, each without its mean over the coordinates: what LayerNorm sees of them."""
        W_O = centred(after(cast_late(self.W_O, self.z), self.z), axis=0)
        b_O = None if self.b_O is None else centred(self.b_O.astype(self.z.dtype))
        return dataclasses.replace(self, W_O=W_O, b_O=b_O, columns=self.columns.centred(self.z))

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
            at_heads = jnp.split(self._seen_from_heads(jnp.concatenate(vectors, axis=1)), len(vectors), axis=1)
            of_mlp = self.columns.seen_from_each([self.mlp.times_gain(vector) for vector in vectors])
            seen = zip(at_heads, of_mlp, strict=True)
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
    def factors(self) -> tuple[jax.Array, ...]:
        """What `along` takes of each position: z, a and the biases' amounts, as they are added; the chosen experts."""
        amounts = self.amounts
        biases = jnp.stack([amounts.attn_bias, amounts.mlp_bias], axis=-1)
        return self.attn.times_amount(self.z), amounts.neurons, biases, *self.columns.factors

    def along(self, rows: Float[Array, "row d_model"]) -> Callable[..., jax.Array]:
        """A function from one position's `factors` to ``[row, write]``: ``⟨w, row⟩`` of all writes (`flat`)."""
        at_heads, at_columns = self._seen_from_heads(rows[None])[0], self.columns.along(self.mlp.times_gain(rows))
        at_attn_bias = rows @ self._attn_bias()

        def products(z: jax.Array, a: jax.Array, biases: jax.Array, *chosen: jax.Array) -> jax.Array:
            at_neurons, at_mlp_bias = at_columns(*chosen)
            units = jnp.stack([at_attn_bias, at_mlp_bias], axis=-1)
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
            neurons=jnp.square(amounts.neurons) * self.column_norms(),
            attn_bias=jnp.square(amounts.attn_bias) * jnp.vecdot(biases[0], biases[0]),
            mlp_bias=jnp.square(amounts.mlp_bias) * jnp.vecdot(biases[1], biases[1]),
        )

    def column_norms(self) -> Float[Array, "_ _ neuron"]:
        """The squared norm of each neuron's column, times the output norm's gain where there is one."""
        if self.norms is not None:
            return self.columns.looked_up(self.norms.neurons)
        return self.columns.of_each(lambda W_down: column_norms(_with_gain(W_down, self.mlp)), self.a)

    def squares_per_activation(self) -> Float[Array, "_ _ neuron"]:
        """The squared norm of each neuron's write per squared activation; axes of size 1 where positions are alike."""
        norms = self.column_norms()
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
        W_O = self._W_O_with_gain()
        if batch * position < head_dim:
            squares = jnp.square(jnp.einsum("bphk,mhk->bphm", z, W_O))
            heads = jnp.einsum("bphm,wm->wbph", squares, weights)
        else:
            heads = jnp.stack([squares_by_gram(z, head_grams(W_O, weight)) for weight in weights])

        def of_columns(W_down: jax.Array) -> jax.Array:
            return contract_output(weights, jnp.square(_with_gain(W_down, self.mlp)))

        biases = (jnp.einsum("bpm,wm->wbp", jnp.square(bias), weights) for bias in self._biases())
        return PerWrite.of_layers(heads, self.columns.of_each(of_columns, self.z), *biases)

    def squares_along(self, directions: Float[Array, "direction d_model"]) -> PerWrite:
        """``Σ_k ⟨w, direction_k⟩²``; of neurons and biases as in `weighted_squares`."""
        z = self.attn.times_amount(self.z)
        seen = jnp.einsum("bphi,khi->bphk", z, jnp.einsum("km,mhi->khi", directions, self._W_O_with_gain()))

        def of_columns(W_down: jax.Array) -> jax.Array:
            return jnp.sum(jnp.square(directions @ _with_gain(W_down, self.mlp)), axis=0)

        return PerWrite.of_layers(
            jnp.sum(jnp.square(seen), axis=-1),
            self.columns.of_each(of_columns, self.z),
            *(jnp.sum(jnp.square(bias @ directions.T), axis=-1) for bias in self._biases()),
        )

    def weights_not_zero(self) -> PerWrite:
        """Whether a write's output weights are not all 0; axes of size 1 where that holds for all positions."""
        return PerWrite.of_layers(
            jnp.any(self.W_O != 0, axis=(0, 2))[None, None],
            self.columns.of_each(lambda W_down: jnp.any(W_down != 0, axis=0), self.z),
            *(jnp.any(bias != 0, axis=-1) for bias in self._biases()),
        )

    def attn_write(self, head_by_head: bool = False) -> Float[Array, "batch position d_model"]:
        """The sum of all heads' writes and the attention bias.

        Args:
            head_by_head: add one head's write after another's, as the writes are defined, and not by the model's own
                product of all heads.
        """
        z = self.z
        if not head_by_head:
            return self.attn.written(_with_bias(linear(z.reshape(*z.shape[:2], -1), self._flat_W_O()), self.b_O))

        def add_head(total: jax.Array, head: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
            return total + linear(*head), None

        heads = self._by_head()
        first, others = jax.tree.map(lambda leaf: leaf[0], heads), jax.tree.map(lambda leaf: leaf[1:], heads)
        return self.attn.written(_with_bias(jax.lax.scan(add_head, linear(*first), others)[0], self.b_O))

    def mlp_write(self) -> Float[Array, "batch position d_model"]:
        """The sum of all neurons' writes and the MLP bias."""
        written, bias = self.columns.summed(self.a), self.columns.bias(self.a.dtype)
        return self.mlp.written(written if bias is None else written + bias)

    def weighted_sums(self, weights: PerWrite) -> tuple[jax.Array, jax.Array]:
        """``Σ weight · w`` over attention's and over the MLP's writes; axes of size 1 in the weights stand for all."""
        z = self.z * weights.heads[..., None]
        attn = linear(z.reshape(*z.shape[:2], -1), self._flat_W_O())
        mlp = self.columns.summed(self.a * weights.neurons)
        if self.b_O is not None:
            attn = attn + weights.attn_bias[..., None] * self.b_O.astype(attn.dtype)[None, None]
        if (bias := self.columns.bias(mlp.dtype)) is not None:
            mlp = mlp + weights.mlp_bias[..., None] * bias
        return self.attn.written(attn), self.mlp.written(mlp)

    def for_each_head(self, function: Callable[[jax.Array], Any]) -> Any:
        """``function(write)`` of each head's write ``[batch, position, d_model]``; heads are the last axis."""

        def one(head: tuple[jax.Array, jax.Array]) -> Any:
            return function(self.attn.written(linear(*head)))

        return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, -1), jax.lax.map(one, self._by_head()))

    def head(self, index: Int[Array, "batch position"]) -> Float[Array, "batch position d_model"]:
        """At each position the write of one head."""
        z = self.z
        alone = z * jax.nn.one_hot(index, z.shape[2], dtype=z.dtype)[..., None]
        return self.attn.written(linear(alone.reshape(*z.shape[:2], -1), self._flat_W_O()))

    def neuron(self, index: Int[Array, "batch position"]) -> Float[Array, "batch position d_model"]:
        """At each position the write of one neuron."""
        column = self.columns.column(index, self.a.dtype)
        return self.mlp.written(column * jnp.take_along_axis(self.a, index[..., None], axis=-1))

    def biases(self) -> tuple[jax.Array | None, jax.Array | None]:
        """The attention and the MLP bias as writes ``[batch, position, d_model]``; None in a model without them."""
        shape, dtype = (*self.z.shape[:2], self.W_O.shape[0]), self.z.dtype
        b_O = None if self.b_O is None else self.b_O.astype(dtype)[None, None]
        pairs = ((b_O, self.attn), (self.columns.bias(dtype), self.mlp))
        attn, mlp = (None if b is None else scale.written(jnp.broadcast_to(b, shape)) for b, scale in pairs)
        return attn, mlp

    def _products(self, attn: jax.Array, mlp: jax.Array, at_heads: jax.Array, at_neurons: jax.Array) -> PerWrite:
        of_attn, of_mlp = (jnp.vecdot(vector, bias) for vector, bias in zip((attn, mlp), self._biases(), strict=True))
        return PerWrite.of_layers(
            heads=self.attn.times_amount(jnp.vecdot(self.z, at_heads)),
            neurons=self.mlp.times_amount(self.a * at_neurons),
            attn_bias=self.attn.times_amount(jnp.broadcast_to(of_attn, self.z.shape[:2])),
            mlp_bias=self.mlp.times_amount(jnp.broadcast_to(of_mlp, self.z.shape[:2])),
        )

    def _seen_from(self, attn: jax.Array, mlp: jax.Array) -> tuple[jax.Array, jax.Array]:
        """A vector as each head's factor meets it, and one as each neuron's does, up to the position's amount."""
        return self._seen_from_heads(attn), self.columns.seen_from(self.mlp.times_gain(mlp))

    def _seen_from_heads(self, vector: jax.Array) -> jax.Array:
        seen = contract_output(self.attn.times_gain(vector), self._flat_W_O())
        return seen.reshape(*vector.shape[:2], *self.W_O.shape[1:])

    def _W_O_with_gain(self) -> jax.Array:
        """``W_O`` with the output norm's gain; made when the layer's turn comes."""
        return _with_gain(after(cast_late(self.W_O, self.z), self.z), self.attn)

    def _flat_W_O(self) -> Float[Array, "d_model inputs"]:
        return self.W_O.reshape(self.W_O.shape[0], -1)

    def _by_head(self) -> tuple[jax.Array, jax.Array]:
        """z and ``W_O`` with the head axis first."""
        W_O = after(cast_late(self.W_O, self.z), self.z)
        return jnp.moveaxis(self.z, 2, 0), jnp.moveaxis(W_O, 1, 0)

    def _head_norms(self) -> Float[Array, "batch position head"]:
        z = self.attn.times_amount(self.z)
        if self.norms is None and math.prod(z.shape[:3]) <= z.shape[3]:
            written = head_by_head(z, self.W_O)
            return jnp.sum(jnp.square(self.attn.times_gain(written)), axis=-1)
        gram = _grams(cast_late(self.W_O, z), self.attn) if self.norms is None else self.norms.heads
        return squares_by_gram(z, gram)

    def _biases(self) -> tuple[Float[Array, "_ _ d_model"], Float[Array, "_ _ d_model"]]:
        """The attention and the MLP bias with the output norms' gains, per unit of `amounts`; 0 where there is none."""
        bias = self.columns.bias(self.z.dtype)
        mlp = jnp.zeros((1, 1, self.W_O.shape[0]), self.z.dtype) if bias is None else self.mlp.times_gain(bias)
        return self._attn_bias()[None, None], mlp

    def _attn_bias(self) -> Float[Array, " d_model"]:
        if self.b_O is None:
            return jnp.zeros(self.W_O.shape[0], self.z.dtype)
        return self.attn.times_gain(self.b_O.astype(self.z.dtype))


def _with_bias(written: jax.Array, bias: jax.Array | None) -> jax.Array:
    return written if bias is None else written + left_broadcast(bias.astype(written.dtype), written)


def _with_gain(weight: Float[Array, "d_model *inputs"], scale: OutputScale) -> Float[Array, "d_model *inputs"]:
    return weight if scale.gain is None else weight * jnp.expand_dims(scale.gain, tuple(range(1, weight.ndim)))


def _grams(W_O: Float[Array, "d_model head head_dim"], scale: OutputScale) -> Float[Array, "head head_dim head_dim"]:
    return head_grams(W_O) if scale.gain is None else head_grams(W_O, jnp.square(scale.gain).astype(W_O.dtype))


def layer_norms(part: Any, config: ModelConfig, dtype: Any) -> WeightNorms:
    """`WeightNorms` of one layer's parameters."""
    W_O = part["attn"]["W_O"].astype(dtype)
    W_O = centred(W_O, axis=0) if config.norm == "layer" else W_O

    def of_columns(scale: OutputScale) -> jax.Array:
        def one(W_down: jax.Array) -> jax.Array:
            W_down = W_down.astype(dtype)
            return column_norms(_with_gain(centred(W_down, axis=0) if config.norm == "layer" else W_down, scale))

        return jax.lax.map(one, part["experts"]["W_down"]) if config.n_experts else one(part["mlp"]["W_down"])

    plain = WeightNorms(head_grams(W_O), of_columns(OutputScale()))
    if not config.output_norms:
        return plain
    gains = (part[f"{site}_out_norm"]["gamma"].astype(dtype) + config.gain_offset for site in ("attn", "mlp"))
    attn, mlp = (OutputScale(gain=gain) for gain in gains)
    return WeightNorms(_grams(W_O, attn), of_columns(mlp), plain)
