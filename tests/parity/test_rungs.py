"""`landed verify` finds every module of every family's reference, and each puts out what ours does."""

from pathlib import Path

import numpy as np
import pytest

from landed_jax import Tokens
from landed_jax.families import families
from landed_jax.loading import load
from landed_jax.parity.ladder import LADDER_SITES, climb, rung_names
from landed_jax.parity.reference import reference_rungs
from tests.parity.torch_model import hf_config, tiny_model

TOKENS = Tokens.from_lists([[3, 14, 15, 9, 2], [7, 1, 8]])


@pytest.mark.filterwarnings("ignore::landed_jax.errors.LandedWarning")  # of settings that the reference ignores
@pytest.mark.parametrize("family", families())
def test_every_module_is_found_and_agrees(family: str, tmp_path: Path, x64: None) -> None:
    tiny_model(hf_config(family)).save_pretrained(tmp_path)
    model = load(tmp_path)
    trace = model.trace(TOKENS, record=LADDER_SITES, dtype="float64")
    reference = reference_rungs(tmp_path, model.config, np.asarray(TOKENS.ids), np.asarray(TOKENS.mask))
    ladder = climb(trace, reference)
    assert [rung.name for rung in ladder.rungs] == rung_names(model.config)
    assert ladder.first_failing is None, ladder.first_failing
