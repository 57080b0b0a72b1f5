"""Random parameters for tests."""

import jax.numpy as jnp
import numpy as np

from landed_jax.config import ModelConfig
from landed_jax.parameters import Leaf, Params, build_tree, leaf_places


def random_params(config: ModelConfig, seed: int = 0, dtype: str = "float32") -> Params:
    """Parameters of which every one matters: gains away from 1, biases away from 0."""
    rng = np.random.default_rng(seed)

    def draw(leaf: Leaf) -> np.ndarray:
        noise = rng.normal(size=leaf.shape(config))
        if leaf.init == "normal":
            return noise * config.d_model**-0.5
        return 0.3 * noise + (leaf.init == "ones")

    return build_tree((path, jnp.asarray(draw(leaf), dtype)) for path, leaf in leaf_places(config))
