"""Rows of a table: the one way in which embeddings and rows of the unembedding are taken.

In a jaxpr it stands as a call of its own, so that where the table is on disk (`pieces`) only those rows are read.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from landed_jax.nn.weights_on_disk import WeightOnDisk


@jax.jit
def rows_of_table(table: Float[Array, "row d_model"], ids: Int[Array, "*at"]) -> Float[Array, "*at d_model"]:
    """``table[ids]``; numbers that are out of range give NaN."""
    return jnp.take(table, ids, axis=0)


def rows_on_disk(table: WeightOnDisk, ids: Int[Array, "*at"]) -> Float[Array, "*at d_model"]:
    """The same of a table on disk, each row read once."""
    numbers, places = np.unique(np.asarray(ids), return_inverse=True)
    there = (numbers >= -len(table)) & (numbers < len(table))
    rows = np.full((len(numbers), *table.shape[1:]), np.nan, table.dtype)
    rows[there] = table.read_rows(numbers[there] % len(table))
    return jax.device_put(rows[places.reshape(np.shape(ids))])
