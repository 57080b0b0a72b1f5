"""The account of a generated token is that of the tokens before it as a prompt; all come from one pass."""

import json
from typing import Any

import numpy as np
import pytest

import landed_jax as landed
from landed_jax import Model, Trace, intervene
from landed_jax.report.generated import generated_report
from landed_jax.tables.draw import text_of
from landed_jax.tables.screen import Screen
from tests.models import BOTH_NORMS, SMALL, random_params

PROMPTS = [[1, 5, 7, 2, 11], [3, 3, 8]]


def numbers(document: Any, path: str = "") -> dict[str, Any]:
    """Every value of a document by its path."""
    if isinstance(document, dict):
        return {key: value for name, part in document.items() for key, value in numbers(part, f"{path}.{name}").items()}
    if isinstance(document, list):
        return {key: value for i, part in enumerate(document) for key, value in numbers(part, f"{path}[{i}]").items()}
    return {path: document}


def same(found: Any, expected: Any, atol: float) -> None:
    ours, theirs = numbers(found), numbers(expected)
    assert ours.keys() == theirs.keys()
    for path, value in theirs.items():
        if isinstance(value, float):
            # A closure error is the rounding itself.
            bar = 1e-3 if "closure_error" in path else atol
            assert abs(ours[path] - value) <= bar * max(1.0, abs(value)), path
        else:
            assert ours[path] == value, path


@pytest.mark.parametrize(
    "config", [pytest.param(SMALL, id="small"), pytest.param(BOTH_NORMS, id="both norms", marks=pytest.mark.slow)]
)
def test_each_account_is_that_of_its_prefix(config: landed.ModelConfig, x64: None, monkeypatch: Any) -> None:
    model = Model(config, random_params(config, dtype=np.float64))
    free = model.generate(PROMPTS, 5, stop=())
    # The first text ends before the second, where the tokens allow it.
    stop = next((one for one in free.ids[0][:4] if one not in free.ids[1]), ())
    generation = model.generate(PROMPTS, 5, stop=stop)
    passes: list[Trace] = []
    trace = Model.trace

    def counted(self: Model, *args: Any, **how: Any) -> Trace:
        passes.append(trace(self, *args, **how))
        return passes[-1]

    monkeypatch.setattr(Model, "trace", counted)
    found = [generation.account(prompt, top=4) for prompt in range(2)]
    assert len(passes) == 2  # one for each call, whatever is generated
    monkeypatch.undo()
    for prompt, part in enumerate(found):
        assert len(part.accounts) == len(generation.ids[prompt])
        before = list(PROMPTS[prompt])
        for account, token in zip(part.accounts, generation.ids[prompt], strict=True):
            expected = model.run(before, target=f"#{token}", top=4)
            same(account.to_dict(), expected.to_dict(), 1e-9)
            assert account.provenance.tokens.ids.shape == (1, len(before))
            before.append(token)


def test_in_float32_to_rounding_and_as_json() -> None:
    model = landed.load()
    found = model.generate("The Colosseum is in the city of", 4).account(top=2)
    document = json.loads(found.to_json())
    assert document["text"] == " Rome. The colour" and document["finish_reason"] == "length"
    assert document["prompt"] == "The Colosseum is in the city of" and document["tokens"][0] == "<s>"
    ids = document["token_ids"]
    for place, one in enumerate(document["generated"]):
        expected = model.run(ids, top=2).to_dict()
        assert one["position"] == len(ids) and one["id"] == expected["target"]["id"] and one["rank"] == 0
        for field in ("logit", "sum_of_landed", "runner_up", "top_writes"):
            same(one[field], expected[field], 2e-4)
        assert one["closure_error"] <= 2e-5
        assert abs(one["logit"] - found.generation.logits[0][place]) <= 1e-4
        ids = [*ids, one["id"]]


def test_the_account_is_of_the_changed_run(x64: None) -> None:
    model = Model(SMALL, random_params(SMALL, dtype=np.float64))
    # A change of the steps' own columns too, in a batch whose padding counts.
    change = [intervene("head", "scale", 3.0, layers=1, heads=2), intervene("neuron", "scale", 2.0, positions=[-1, 6])]
    generation = model.generate(PROMPTS, 4, stop=(), interventions=change)
    for prompt in range(2):
        for account, logit in zip(generation.account(prompt).accounts, generation.logits[prompt], strict=True):
            shares = account.attribution
            assert abs(shares.value[0, 0] - logit) <= 1e-12 * max(1.0, abs(logit))
            assert abs(shares.total[0, 0] - logit) <= 1e-12 * max(1.0, abs(logit))


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_and_names_every_token(width: int) -> None:
    found = landed.load().generate("The Colosseum is in the city of", 4, temperature=2.0, seed=1).account()
    printed = text_of(generated_report(found), Screen(width))
    assert max(map(len, printed.splitlines())) <= width and "temperature 2, seed 1" in printed
    for account in found.accounts:
        token = account.token(account.attribution, "target")
        assert token is not None and repr(token["text"]) in printed
        assert f"{float(account.attribution.value[0, 0]):.4f}" in printed
    assert "<table>" in found._repr_html_()
