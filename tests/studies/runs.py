"""Small studies: a tiny random model, prompts of ids, windows of a few prompts."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from landed_jax import Model
from landed_jax.nn.config import ModelConfig
from landed_jax.studies import _batches, _merge, _store
from tests.models import SMALL, random_params


def tiny(config: ModelConfig = SMALL) -> Model:
    return Model(config, random_params(config), source="tiny")


def prompts_of(count: int, seed: int = 0, vocab: int = SMALL.vocab_size, longest: int = 7) -> list[list[int]]:
    random = np.random.default_rng(seed)
    return [random.integers(0, vocab, random.integers(1, longest + 1)).tolist() for _ in range(count)]


def short_windows(monkeypatch: pytest.MonkeyPatch, together: int = 4, window: int = 12) -> None:
    """Few prompts a batch, few a window, and a commit after every batch."""
    monkeypatch.setattr(_batches, "TOGETHER", together)
    for module in (_batches, _store, _merge):
        monkeypatch.setattr(module, "WINDOW", window)
    monkeypatch.setattr(_store, "SECONDS", 0.0)
    monkeypatch.setattr(_store, "_SHARE", 0.0)


def files_of(folder: Path) -> dict[str, str]:
    """Every file of a folder with its content's hash."""

    def files() -> Iterator[tuple[str, str]]:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                yield str(path.relative_to(folder)), hashlib.sha256(path.read_bytes()).hexdigest()

    return dict(files())
