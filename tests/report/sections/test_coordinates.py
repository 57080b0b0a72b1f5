"""`--coordinates` against the account's counts and the model's own logits."""

import numpy as np

import landed_jax as landed
from landed_jax.report.dataset import run_dataset
from landed_jax.report.document import run_document
from landed_jax.report.sections.coordinates import SECTION
from tests.report.sections.conftest import PROMPT, AccountWith


def test_coordinates_are_checked(model: landed.Model, account_with: AccountWith) -> None:
    document = run_document(account_with(SECTION), 1)
    found, check = document["coordinate_detail"], document["coordinate_detail"]["causal_check"]
    assert all(found["settled"][key] >= document["coordinates"][key] for key in ("for_50", "for_90", "for_99"))
    assert check["coordinates"] == found["settled"]["for_90"]
    bar = 1e-5 * abs(document["logit"])
    assert abs(check["whole"]["value"] - document["logit"]) <= bar
    assert abs(check["kept"]["value"] + check["ablated"]["value"] - document["logit"]) <= bar
    assert abs(check["kept"]["value"] - document["logit"]) <= 0.1 * abs(document["logit"]) + bar
    logits = np.asarray(model.trace(PROMPT, at=-1).logits[0, 0])
    assert check["whole"]["rank"] == int((logits > logits[document["target"]["id"]]).sum())


def test_counts_stand_by_their_part_of_the_value(account_with: AccountWith) -> None:
    account = account_with(SECTION)
    found = run_document(account, 1)["coordinate_detail"]
    dataset = run_dataset(account)
    for percent in (50, 90, 99):
        at = dataset.sel(fraction=percent / 100)
        assert at["coordinates.settled"].item() == found["settled"][f"for_{percent}"]
        mean = at["coordinates.rotated.settled"].mean("rotation").item()
        np.testing.assert_allclose(mean, found["rotated"]["settled_mean"][f"for_{percent}"], rtol=1e-5)
