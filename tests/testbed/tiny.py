"""A training of a second, in a file of its own: a process that trains imports no more than it needs."""

import dataclasses

from landed_jax.testbed.training import ARCHITECTURE, Recipe

TINY = Recipe(
    dataclasses.replace(ARCHITECTURE, d_model=8, n_layers=1, n_heads=2, n_kv_heads=1, head_dim=4, d_ff=8),
    steps=9,
    batch=2,
    warmup=2,
    seed=5,
)
