"""The prompts of the parity tests, what `transformers` makes of them, and how near is near enough."""

from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from landed_jax.nn.config import ModelConfig
from landed_jax.tokens import Tokens
from tests.parity.torch_model import torch_logits

# Of unequal length: left padding, a sliding window shorter than the prompt, and a prompt of one token.
PROMPTS = ((3, 14, 15, 9, 2, 6, 5, 3, 5, 8, 9), (7, 1, 8, 2, 8), (4,))
TOKENS = Tokens.from_lists(PROMPTS)
REAL = np.asarray(TOKENS.mask)

LOGITS_BAR = {"float32": 2e-5, "float64": 1e-10}


def by_length(config: ModelConfig) -> bool:
    """Whether rotary scaling depends on the prompt's length."""
    return config.rope.kind in ("dynamic", "longrope")


def alone(model: PreTrainedModel) -> np.ndarray:
    """Each prompt's logits when it runs alone: rotary scaling goes by the prompt's own length."""
    rows = [torch_logits(model, [prompt]) for prompt in PROMPTS]
    return torch.cat([torch.nn.functional.pad(row, (0, 0, REAL.shape[1] - row.shape[1], 0)) for row in rows]).numpy()


def relative_error(ours: Any, theirs: Any, where: Any = REAL) -> float:
    """The largest difference in units of the largest value, wherever a real token stands."""
    ours, theirs = np.asarray(ours)[where], np.asarray(theirs)[where]
    assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())
