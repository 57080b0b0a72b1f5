"""`landed verify` against a folder that `transformers` wrote: every module of the reference is found and equal."""

from pathlib import Path

import pytest

from landed_jax.cli.commands import status_of
from tests.parity.cases import CASES
from tests.parity.torch_model import hf_config, tiny_model


@pytest.mark.parametrize("case", ["phi3_longrope", "ministral3_yarn", "mistral3_ministral3", "mistral3_untied"])
def test_a_saved_model_is_the_reference_at_every_rung(
    case: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    kind, fields = CASES[case]
    tiny_model(hf_config(kind, **fields)).save_pretrained(tmp_path)
    assert status_of(["verify", str(tmp_path), "--against", str(tmp_path), "--length", "9"]) == 0
    assert "Equal at every rung in float64" in capfd.readouterr().out
