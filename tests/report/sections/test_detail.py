"""`--detail`: its numbers are those of the attribution, and its sums close on the account's own."""

import numpy as np
import pytest

import landed_jax as landed
from landed_jax.report.account import Account
from landed_jax.report.document import run_document
from landed_jax.report.sections import sections_named
from tests.report.sections.conftest import AccountWith


@pytest.fixture(scope="module")
def account(account_with: AccountWith) -> Account:
    return account_with(sections_named(["detail"])[0])


@pytest.fixture(scope="module")
def document(account: Account) -> dict:
    return run_document(account, 20)


def test_heads_and_neurons_are_those_of_the_largest_writes(document: dict) -> None:
    found = {"head": 0, "neuron": 0}
    for row in document["top_writes"]:
        if row["kind"] == "head":
            heads = document["detail"]["heads"]
            same = {name: heads[name][row["layer"]][row["index"]] for name in heads}
        elif row["kind"] == "neuron":
            same = next(one for one in document["detail"]["neurons"][row["layer"]] if one["index"] == row["index"])
            assert same["landed"] == row["landed"]
        else:
            continue
        found[row["kind"]] += 1
        assert same["direct_effect"] == row["direct_effect"] and same["sigma_share"] == row["sigma_share"]
    assert found["head"] and found["neuron"]


def test_groups_sum_to_each_layers_neurons(account: Account, document: dict) -> None:
    groups = document["detail"]["neuron_groups"]
    assert all(len(row) == -(-account.config.n_neurons // groups["size"]) <= 32 for row in groups["landed"])
    np.testing.assert_allclose(np.sum(groups["landed"], 1), document["mlp"], rtol=1e-4, atol=1e-5)


def test_coordinates_are_the_landed_stream_times_the_unembedding(model: landed.Model, document: dict) -> None:
    trace = model.trace([document["token_ids"]], record={landed.HookPoint.FINAL_NORMED})
    ids = [document[name]["id"] for name in ("target", "against")]
    table = np.asarray(model.params["unembed"]["W_U"], float)
    vector = table[ids[0]] - table[ids[1]]
    contributions = np.asarray(trace[landed.HookPoint.FINAL_NORMED][0, -1], float) * vector
    shown = document["detail"]["coordinates"]
    sizes = [abs(row["contribution"]) for row in shown]
    assert sizes == sorted(sizes, reverse=True) and len(shown) == 64 < document["detail"]["d_model"]
    assert sizes[-1] >= np.sort(np.abs(contributions))[-65] - 1e-5
    for row in shown:
        assert row["contribution"] == pytest.approx(contributions[row["coordinate"]], rel=1e-4, abs=1e-5)
