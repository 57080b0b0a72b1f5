"""`landed run` on a model with experts: the JSON and the table name a neuron by its expert."""

import dataclasses

import jax.numpy as jnp
import pytest

import landed_jax as landed
from landed_jax.model import Model
from landed_jax.nn.config import ModelConfig
from landed_jax.report.facts import model_facts
from landed_jax.report.run_report import whole_report
from landed_jax.tables.draw import text_of
from landed_jax.tables.screen import Screen
from tests.models import random_params

PROMPT = "The Colosseum is in the city of"


@pytest.fixture(scope="module")
def model() -> Model:
    bundled = landed.load()
    config: ModelConfig = dataclasses.replace(
        bundled.config, family="mixtral", n_layers=2, d_ff=8, n_experts=6, experts_per_token=2
    )
    return dataclasses.replace(bundled, config=config, params=random_params(config))


def test_a_neuron_is_named_by_its_expert(model: Model) -> None:
    account = model.run(PROMPT, top=1000)
    document = account.to_dict()
    trace = model.trace(PROMPT)
    rows = [row for row in document["top_writes"] if row["kind"] == "neuron"]
    assert len(rows) == 2 * 2 * 8
    for row in document["top_writes"]:
        assert row["expert"] is None if row["kind"] != "neuron" else 0 <= row["index"] < 8
    for row in rows:
        slot = trace[landed.HookPoint.EXPERT][row["layer"], 0, -1].tolist().index(row["expert"])
        found = account.attribution.landed.neurons[row["layer"], 0, 0, slot * 8 + row["index"]]
        assert row["landed"] == pytest.approx(float(found), abs=1e-6)
    shown = text_of(whole_report(account), Screen(80))
    assert f"\n{rows[0]['layer']}.{rows[0]['expert']}.{rows[0]['index']} " in shown
    assert "would be neuron 17 of expert 5 in layer 3" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_a_dense_models_json_has_no_experts() -> None:
    document = landed.load().run(PROMPT, top=3).to_dict()
    assert all("expert" not in row for row in document["top_writes"])


def test_the_facts_count_the_chosen_experts_neurons(model: Model) -> None:
    facts = dict(model_facts(model.config, None))
    heads = model.config.n_heads
    assert facts["writes a position"] == f"{2 * (heads + 16) + 1} (heads, neurons of the chosen experts, the embedding)"


def test_results_carry_the_choice(model: Model) -> None:
    shares = landed.attribute(model.trace(PROMPT), " Rome")
    assert shares.experts is not None
    labelled = shares.to_xarray()
    assert labelled["experts"].dims == ("layer", "batch", "position", "slot")
    assert jnp.issubdtype(labelled["experts"].dtype, jnp.integer)
