"""gpt-oss's gate where its clamps matter, which the activations of tiny random models never reach."""

from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np
import torch
from transformers.models.gpt_oss.modeling_gpt_oss import GptOssExperts

from landed_jax.nn.functions import gated
from tests.reference import numpy_model


def test_large_numbers_are_cut_as_the_reference_cuts_them(x64: None) -> None:
    both = 20 * np.random.default_rng(0).standard_normal((50, 2, 6))
    assert (np.abs(both) > 7).any(axis=(0, 2)).all()
    gate, up = both[:, 0], both[:, 1]
    theirs: Any = SimpleNamespace(alpha=1.702, limit=7.0)
    apply: Any = GptOssExperts._apply_gate
    expected = apply(theirs, torch.from_numpy(np.stack([gate, up], axis=-1).reshape(50, -1)))
    ours = gated("clamped_swiglu", jnp.asarray(gate), jnp.asarray(up))
    for found in (ours, numpy_model.gated("clamped_swiglu", gate, up)):
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-13, atol=1e-13)
