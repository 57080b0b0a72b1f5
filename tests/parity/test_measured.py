"""The command behind the table of families: small errors of right models, and a large one of what is wrong."""

import pytest

from tests.families.page import BARS
from tests.parity import measured
from tests.parity.measured import Errors, measure


def above(errors: Errors) -> set[str]:
    """The errors that are not at or below their bars."""
    return {field for field, bar in BARS.items() if not getattr(errors, field) <= bar}


@pytest.mark.parametrize("case", ["gemma2_low_caps", "gpt_neox_dynamic", "mistral3_ministral3"])
def test_small_errors(case: str) -> None:
    errors = measure(case)
    assert above(errors) == set()
    assert errors.logits_float32 > errors.logits_float64 > 0


def test_a_wrong_model_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    convert = measured.convert

    def wrong(model: object) -> object:
        config, params = convert(model)
        params["layers"]["1"]["mlp"]["W_up"] = params["layers"]["1"]["mlp"]["W_up"] * 1.01
        return config, params

    monkeypatch.setattr(measured, "convert", wrong)
    assert above(measure("grouped")) == {"logits_float32", "logits_float64"}


def test_a_wrong_effect_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    removed = measured.removed_effects
    monkeypatch.setattr(measured, "removed_effects", lambda *given: removed(*given) * (1 + 1e-6))
    assert above(measure("olmo2_one_layer")) == {"direct_effects"}
