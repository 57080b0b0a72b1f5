"""Published shapes, without their weights."""

import json
from pathlib import Path

from landed_jax.checkpoints.hf.gate import config_from_hf
from landed_jax.nn.config import ModelConfig

_ACCEPTED = json.loads((Path(__file__).parents[1] / "families" / "well_known.json").read_text())["accepted"]
KNOWN = {name: known["config"] for name, known in _ACCEPTED.items()}


def known(name: str) -> ModelConfig:
    return config_from_hf(KNOWN[name])
