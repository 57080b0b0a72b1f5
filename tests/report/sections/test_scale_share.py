"""`--scale-share` against the account's σ."""

import pytest

from landed_jax.report.document import run_document
from landed_jax.report.sections.scale_share import SECTION
from tests.report.sections.conftest import AccountWith


def test_shares_are_of_the_accounts_scale(account_with: AccountWith) -> None:
    document = run_document(account_with(SECTION), 1)
    last = document["scale"][-1]["sigma"]
    for row in document["scale"]:
        assert document["scale_share"][row["site"]] == pytest.approx((row["sigma"] / last) ** 2, rel=1e-5)
