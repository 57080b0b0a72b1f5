"""`--lens` against the account's σ and its logit."""

import numpy as np
import pytest

from landed_jax.report.dataset import run_dataset
from landed_jax.report.document import run_document
from landed_jax.report.sections.lens import SECTION
from tests.report.sections.conftest import AccountWith


def test_the_lens_ends_at_the_logit(account_with: AccountWith) -> None:
    document = run_document(account_with(SECTION), 1)
    rows, bar = document["lens"], 1e-5 * abs(document["logit"])
    assert [row["site"] for row in rows] == [row["site"] for row in document["scale"]]
    for variant in ("own_sigma", "final_sigma"):
        assert abs(rows[-1][variant] - document["logit"]) <= bar
    np.testing.assert_allclose(
        np.cumsum([row["landed"] for row in rows]), [row["final_sigma"] for row in rows], atol=bar
    )
    assert rows[0]["landed"] == pytest.approx(document["embedding"], abs=bar)
    sigma = [row["sigma"] for row in document["scale"]]
    np.testing.assert_allclose(
        [row["own_sigma"] * s for row, s in zip(rows, sigma, strict=True)],
        [row["final_sigma"] * sigma[-1] for row in rows],
        rtol=1e-4,
        atol=bar,
    )


def test_the_data_set_names_sites_and_what_was_written_between(account_with: AccountWith) -> None:
    account = account_with(SECTION)
    dataset = run_dataset(account)
    for row in run_document(account, 1)["lens"]:
        assert dataset["lens.values.final_sigma"].sel(site=row["site"]).item() == pytest.approx(row["final_sigma"])
        landed = dataset["lens.values.final_sigma_contributions"].sel(group=row["written_before"])
        assert landed.item() == pytest.approx(row["landed"])
