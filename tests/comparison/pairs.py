"""Random models with random clean and corrupted prompts; a planted circuit as a pair."""

from typing import Any

import jax.numpy as jnp
import numpy as np

import landed_jax as landed
from landed_jax.nn.config import ModelConfig
from landed_jax.tasks import Pairs
from landed_jax.testbed.planted import copying_head
from landed_jax.tokens import Tokens
from tests.models import random_params, random_tokens


def random_pairs(config: ModelConfig, dtype: Any = np.float32) -> tuple[landed.Model, Pairs]:
    """A left-padded batch of two."""
    model = landed.Model(config, random_params(config, dtype=dtype))
    clean, corrupted = (random_tokens(config, seed=seed) for seed in (0, 1))
    return model, Pairs(clean, corrupted, jnp.array([[1, 2], [3, -1]]), jnp.array([[4], [5]]))


def planted_pairs() -> tuple[landed.Model, Pairs, tuple[int, int]]:
    """A head that copies one marked token, another in the corrupted prompt, and its place (layer, head)."""
    planted = copying_head(layer=1, head=2)
    other = [planted.against if token == planted.target else token for token in planted.prompt]
    prompts = [Tokens.from_lists([prompt, prompt]) for prompt in (planted.prompt, other)]
    right, wrong = (jnp.full((2, 1), token) for token in (planted.target, planted.against))
    return landed.Model(planted.config, planted.params), Pairs(*prompts, right, wrong), (1, 2)
