"""`--effects` against each value's own attribution."""

import numpy as np
import pytest

import landed_jax as landed
from landed_jax.report.account import account_for
from landed_jax.report.dataset import run_dataset
from landed_jax.report.document import run_document
from landed_jax.report.sections.effects import SECTION
from tests.report.sections.conftest import PROMPT, AccountWith
from tests.traces import asked_by


def test_effects_are_the_measures_of_each_value_alone(model: landed.Model, account_with: AccountWith) -> None:
    trace = model.trace(PROMPT, at=-1)
    document = run_document(account_with(SECTION), 1)
    found = document["effects"]["landed_against_direct"]
    assert list(found) == ["logit", "centred logit", "logit difference", "log-probability"]
    arguments = {
        "logit": {"target": " are"},
        "centred logit": {"target": " are", "centred": True},
        "logit difference": {"target": " are", "against": " is"},
    }
    for name, asked in arguments.items():
        shares = landed.attribute(trace, asked_by(**asked))
        for part in ("heads", "neurons"):
            mine, theirs = (np.asarray(getattr(x, part)).ravel() for x in (shares.landed, shares.direct_effect))
            nmae = np.abs(mine - theirs).sum() / np.abs(theirs).sum()
            assert found[name][part]["nmae"] == pytest.approx(nmae, rel=1e-3)
            assert found[name][part]["correlation"] == pytest.approx(np.corrcoef(mine, theirs)[0, 1], abs=1e-3)
    assert document["effects"]["against"] == document["against"]
    assert document["effects"]["volume_of"] == "logit difference"
    loud = document["effects"]["volume"]
    assert [row["score"] for row in loud] == sorted((row["score"] for row in loud), reverse=True)


def test_the_data_set_has_the_agreement_itself(account_with: AccountWith) -> None:
    account = account_with(SECTION)
    measures = run_document(account, 1)["effects"]["landed_against_direct"]
    dataset = run_dataset(account)
    for measure, parts in measures.items():
        for part, numbers in parts.items():
            for name, value in numbers.items():
                assert dataset[f"effects.{measure}.{part}.{name}"].item() == pytest.approx(value)


@pytest.mark.slow  # another value is another program to compile
def test_without_a_difference_the_other_token_is_the_runner_up(model: landed.Model) -> None:
    account = account_for(model, PROMPT, target=" are", sections=[SECTION])
    found = run_document(account, 1)["effects"]
    logits = np.array(model.trace(PROMPT, at=-1).logits[0, 0])
    logits[account.attribution.target.item()] = -np.inf
    assert found["against"]["id"] == np.argmax(logits)
    assert found["volume_of"] == "centred logit"
    assert "logit difference" in found["landed_against_direct"]
