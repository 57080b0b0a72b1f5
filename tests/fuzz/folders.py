"""The folders that are changed: one file with a byte-level tokenizer, shards with another kind, a native one."""

import dataclasses
import json
import random
import shutil
from pathlib import Path

import ml_dtypes
import numpy as np

from landed_jax.checkpoints.hf.table import to_hf
from landed_jax.checkpoints.hf.writer import config_to_hf
from landed_jax.loading import convert, load
from landed_jax.model import Model
from landed_jax.nn.config import ModelConfig, RopeConfig
from tests.checkpoints import write_checkpoint, write_shards
from tests.fuzz.mutations import MUTATIONS
from tests.models import random_params
from tests.vocabularies import byte_level, sentencepiece_like

_SINGLE = ModelConfig(vocab_size=400, d_model=8, n_layers=2, n_heads=2, n_kv_heads=1, head_dim=4, d_ff=12)
_LLAMA3 = RopeConfig("llama3", 500.0, 4.0, 16, low_freq_factor=1.0, high_freq_factor=4.0)
_SHARDS = dataclasses.replace(_SINGLE, family="mistral", sliding_window=3, rope=_LLAMA3, tie_embeddings=True)


class Folders:
    """The folders in `place`, and what they hold before they are changed."""

    def __init__(self, place: Path) -> None:
        self.place = place
        single, shards, native = (place / name for name in ("single", "shards", "native"))
        write_checkpoint(single, dict(to_hf(random_params(_SINGLE), _SINGLE)), _SINGLE)
        narrow = {name: np.asarray(t).astype(ml_dtypes.bfloat16) for name, t in _tensors(_SHARDS).items()}
        write_shards(shards, narrow, _SHARDS)
        for folder, config, tokenizer in ((single, _SINGLE, byte_level()), (shards, _SHARDS, sentencepiece_like())):
            (folder / "config.json").write_text(json.dumps(config_to_hf(config)))
            tokenizer.save_pretrained(folder)
        convert(single, native)
        self.models: dict[str, Model] = {
            name: load(place / name, stacked=False) for name in ("single", "shards", "native")
        }

    def changed(self, seed: str, number: int) -> tuple[Path, Model, str, str]:
        """The folder of one mutation, the model it was, the kind of the mutation, and what it did."""
        pick = random.Random(f"{seed}/{number}")
        base, mutate = MUTATIONS[number % len(MUTATIONS)]
        base = pick.choice([*self.models]) if base == "any" else base
        folder = self.place / "changed"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.place / base, folder)
        return folder, self.models[base], mutate.__name__, f"{base}: {mutate(folder, pick)}"


def _tensors(config: ModelConfig) -> dict[str, np.ndarray]:
    return dict(to_hf(random_params(config, seed=1), config))
