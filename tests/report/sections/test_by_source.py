"""`--by-source` against the account's own numbers."""

import numpy as np

from landed_jax.report.document import run_document
from landed_jax.report.sections.by_source import SECTION
from tests.report.sections.conftest import AccountWith


def test_sources_sum_to_heads(account_with: AccountWith) -> None:
    document = run_document(account_with(SECTION), 1)
    found = document["by_source"]
    split = np.array(found["heads"])
    bar = 1e-5 * abs(document["logit"])
    np.testing.assert_allclose(split.sum(-1), document["heads"], atol=bar)
    np.testing.assert_allclose(split.sum((0, 1)), found["tokens"], atol=bar)
    assert split.shape[-1] == len(document["tokens"]) and found["closure_error"] <= bar
    assert document["tokens"][int(np.argmax(found["tokens"]))] == " keys"  # the subject decides the number
