"""The columns of ``W_down`` as the neurons of each position meet them: of one MLP, or of the experts that it chose.

Both kinds answer the same, so `LayerWrites` says once what a neuron's write is. Numbers of neurons have a batch and a
position axis, which have size 1 where all positions have the same neurons.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from landed_jax.nn.expert_products import expert_contract, expert_linear, of_chosen
from landed_jax.nn.experts import Chosen
from landed_jax.nn.functions import centred
from landed_jax.nn.products import contract_output, linear
from landed_jax.nn.schedule import after, cast_late

OfColumns = Callable[[Float[Array, "d_model neuron"]], Float[Array, "*lead neuron"]]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DenseColumns:
    """Of an MLP that all positions use.

    Attributes:
        W_down, b_down: as the parameters have them; b_down is None in a model without.
    """

    W_down: Float[Array, "d_model neuron"]
    b_down: Float[Array, " d_model"] | None

    def centred(self, like: jax.Array) -> "DenseColumns":
        """Each column, and the bias, without its mean over the coordinates."""
        W_down = after(cast_late(self.W_down, like), like)
        bias = None if self.b_down is None else centred(self.b_down.astype(like.dtype))
        return DenseColumns(centred(W_down, axis=0), bias)

    def summed(self, a: Float[Array, "batch position neuron"]) -> Float[Array, "batch position d_model"]:
        """``Σ_j a_j W_down[:, j]``."""
        return linear(a, self.W_down)

    def seen_from(self, vector: Float[Array, "_ _ d_model"]) -> Float[Array, "_ _ neuron"]:
        """``⟨W_down[:, j], vector⟩`` for every column."""
        return contract_output(vector, self.W_down)

    def seen_from_each(self, vectors: list[Float[Array, "_ _ d_model"]]) -> list[Float[Array, "_ _ neuron"]]:
        """`seen_from` of several vectors of one shape, which read the matrix once."""
        return jnp.split(self.seen_from(jnp.concatenate(vectors, axis=1)), len(vectors), axis=1)

    def of_each(self, function: OfColumns, like: jax.Array) -> Float[Array, "*lead _ _ neuron"]:
        """What depends on the columns alone."""
        return self.looked_up(function(after(cast_late(self.W_down, like), like)))

    def looked_up(self, numbers: Float[Array, "*lead neuron"]) -> Float[Array, "*lead _ _ neuron"]:
        """Numbers of all columns, at the positions."""
        return numbers[..., None, None, :]

    def column(self, index: Int[Array, "batch position"], dtype: Any) -> Float[Array, "batch position d_model"]:
        """One column for each position."""
        return jnp.moveaxis(jnp.take(self.W_down, index, axis=1), 0, -1).astype(dtype)

    def bias(self, dtype: Any) -> Float[Array, "_ _ d_model"] | None:
        """The bias of the output; None in a model without one."""
        return None if self.b_down is None else self.b_down.astype(dtype)[None, None]

    @property
    def factors(self) -> tuple[jax.Array, ...]:
        """What `along` takes of each position."""
        return ()

    def along(self, rows: Float[Array, "row d_model"]) -> Callable[..., tuple[jax.Array, jax.Array]]:
        """From one position's `factors` to its columns' and its bias's products with the rows."""
        bias = jnp.zeros((len(rows),), rows.dtype) if self.b_down is None else rows @ self.b_down.astype(rows.dtype)
        found = self.seen_from(rows[None])[0], bias
        return lambda: found


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ExpertColumns:
    """Of the experts that each position chose: those of its first one, then of the next.

    Attributes:
        W_down, b_down: of all experts, as the parameters have them; b_down is None in a model without.
        chosen: which experts each position chose.
    """

    W_down: Float[Array, "expert d_model d_ff"]
    b_down: Float[Array, "expert d_model"] | None
    chosen: Chosen

    def centred(self, like: jax.Array) -> "ExpertColumns":
        """Each column, and each bias, without its mean over the coordinates."""
        W_down = centred(after(cast_late(self.W_down, like), like), axis=1)
        return ExpertColumns(W_down, None if self.b_down is None else centred(self.b_down), self.chosen)

    def summed(
        self, a: Float[Array, "batch position neuron"], *, bfloat16: bool = False
    ) -> Float[Array, "batch position d_model"]:
        """``Σ_j a_j W_down[e][:, j]`` over the chosen experts' neurons."""
        ids = self.chosen.ids
        each = expert_linear(a.reshape(ids.size, -1), self.W_down, ids.ravel(), bfloat16=bfloat16)
        return jnp.sum(each.reshape(*ids.shape, -1), axis=-2)

    def seen_from(self, vector: Float[Array, "_ _ d_model"]) -> Float[Array, "_ _ neuron"]:
        """``⟨W_down[e][:, j], vector⟩`` for every column of the chosen experts."""
        if vector.size == vector.shape[-1]:
            return self.of_each(lambda W_down: contract_output(vector[0, 0], W_down), vector)
        ids = self.chosen.ids
        rows = jnp.broadcast_to(vector[:, :, None], (*ids.shape, vector.shape[-1]))
        return expert_contract(rows.reshape(ids.size, -1), self.W_down, ids.ravel()).reshape(*ids.shape[:2], -1)

    def seen_from_each(self, vectors: list[Float[Array, "_ _ d_model"]]) -> list[Float[Array, "_ _ neuron"]]:
        """`seen_from` of several vectors."""
        return [self.seen_from(vector) for vector in vectors]

    def of_each(self, function: OfColumns, like: jax.Array) -> Float[Array, "*lead batch position neuron"]:
        """What depends on the columns alone."""
        return of_chosen(function, after(self.W_down, like), self.chosen.ids, like.dtype)

    def looked_up(self, numbers: Float[Array, "*lead expert d_ff"]) -> Float[Array, "*lead batch position neuron"]:
        """Numbers of all columns, at the positions."""
        found = jnp.take(numbers, self.chosen.ids, axis=-2)
        return found.reshape(*found.shape[:-2], -1)

    def column(self, index: Int[Array, "batch position"], dtype: Any) -> Float[Array, "batch position d_model"]:
        """One column for each position."""
        slot, column = jnp.divmod(index, self.W_down.shape[-1])
        expert = jnp.take_along_axis(self.chosen.ids, slot[..., None].astype(self.chosen.ids.dtype), axis=-1)[..., 0]
        return self.W_down[expert, :, column].astype(dtype)

    def bias(self, dtype: Any) -> Float[Array, "batch position d_model"] | None:
        """``Σ_k p_k b_down[e_k]``; None in a model without biases."""
        if self.b_down is None:
            return None
        each = jnp.take(self.b_down, self.chosen.ids, axis=0).astype(dtype)
        return jnp.einsum("bpk,bpkm->bpm", self.chosen.weights, each)

    @property
    def factors(self) -> tuple[jax.Array, ...]:
        """What `along` takes of each position."""
        return self.chosen.ids, self.chosen.weights

    def along(self, rows: Float[Array, "row d_model"]) -> Callable[..., tuple[jax.Array, jax.Array]]:
        """From one position's `factors` to its columns' and its bias's products with the rows."""
        bias = jnp.zeros((len(self.W_down), rows.shape[1]), rows.dtype) if self.b_down is None else self.b_down
        at_biases = rows @ bias.astype(rows.dtype).T

        def one(W_down: jax.Array) -> jax.Array:
            return rows @ W_down.astype(rows.dtype)

        few = self.chosen.ids.size < len(self.W_down)
        every = None if few else jax.lax.map(one, self.W_down)

        def products(ids: Int[Array, " slot"], weights: Float[Array, " slot"]) -> tuple[jax.Array, jax.Array]:
            each = jax.lax.map(lambda e: one(self.W_down[e]), ids) if every is None else jnp.take(every, ids, axis=0)
            return jnp.moveaxis(each, 0, 1).reshape(len(rows), -1), jnp.take(at_biases, ids, axis=1) @ weights

        return products


def columns_of(part: Any, chosen: Chosen | None) -> DenseColumns | ExpertColumns:
    """Those of one layer's parameters."""
    if chosen is None:
        return DenseColumns(part["mlp"]["W_down"], part["mlp"].get("b_down"))
    return ExpertColumns(part["experts"]["W_down"], part["experts"].get("b_down"), chosen)
