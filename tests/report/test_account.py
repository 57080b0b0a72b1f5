"""A run's account where tokens, prompt and model have every kind of troublesome text: its tables, JSON and data set."""

import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import landed_jax as landed
from landed_jax.errors import LandedError
from landed_jax.printable import printable
from landed_jax.report.account import Account
from landed_jax.report.prediction import predict
from landed_jax.report.run_report import whole_report
from landed_jax.results.files import load_result
from landed_jax.tables.draw import text_of
from landed_jax.tables.flow import flow
from landed_jax.tables.quoted import Quoted
from landed_jax.tables.screen import Screen
from landed_jax.vocabulary import Vocabulary
from tests.models import LAYER_NORM, SMALL, random_params

TEXTS = [
    "\0",
    " Colosseum",
    "[bold red]",
    "\x1b]0;title\x07",
    "\u202eevil\u202c",
    "北京市朝阳区" * 5,
    " Donaudampfschifffahrtsgesellschaft" * 3,
    "\u0301",
    "e\u0301\u0302",
    "'\"",
    "\\x00",
    "\n",
    "\ud800",
]
PROMPT = "".join(TEXTS[:12])
IDS = list(range(12))
MODEL = "/models/[red]\x1b[31m\u202e/" + "a-very-long-folder-name/" * 4


class Troublesome(Vocabulary):
    def __init__(self) -> None:
        super().__init__(None)

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        return IDS

    def text(self, token: int) -> str:
        return TEXTS[token]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(TEXTS[token] for token in ids)

    def token_id(self, text: str) -> int:
        return TEXTS.index(text)

    def unknown(self, text: str) -> list[str]:
        return []


@pytest.fixture(scope="module")
def model() -> landed.Model:
    return landed.Model(SMALL, random_params(SMALL), Troublesome(), MODEL)


@pytest.fixture(scope="module")
def account(model: landed.Model) -> Account:
    return model.run(PROMPT, top=45, sections=["by_source", "lens"])


NUMBER = re.compile(r"(?<![\w.])[+-][0-9]+\.[0-9]+%?")
NAME = re.compile(r"(?<![\w.])[0-9]+\.(?:head|neuron)\.[0-9]+")
PIECES = re.compile(r"(?<![\w.])[0-9]+\.(?:head|neuron)\.?|\.(?:hea|neuro|neur)\b")


def test_at_every_width_names_and_numbers_are_whole(account: Account) -> None:
    blocks = whole_report(account)
    whole = text_of(blocks, Screen(10_000))
    numbers, names = set(NUMBER.findall(whole)), NAME.findall(whole)
    assert len(numbers) > 100 and len(set(names)) == 2 * SMALL.n_heads + 2 * SMALL.d_ff
    for width in range(40, 201):
        text = text_of(blocks, Screen(width))
        assert all(line.isprintable() for line in text.splitlines())
        assert set(NUMBER.findall(text)) <= numbers, width
        found = NAME.findall(text)
        assert set(found) == set(names) and len(PIECES.findall(text)) == len(found), width
        for line in text.splitlines():
            assert len(line) <= width or len(line.encode()) > len(line), line
        if width >= 90:
            assert numbers <= set(NUMBER.findall(text))
            assert "Left out" not in text


def test_the_prompt_and_the_tokens_are_shown_as_they_are(account: Account) -> None:
    text = text_of(whole_report(account), Screen(200))
    assert flow([Quoted(PROMPT)], Screen(10_000))[0].replace(" ", "") in text.replace("\n", "").replace(" ", "")
    for token in TEXTS[:5]:
        assert Quoted(token).fit(None, Screen()) in text
    assert "[bold red]" in text and "\\x1b]0;title\\x07" in text and "\\u202e" in text


def test_the_result_file_is_written_whatever_the_text(account: Account, tmp_path: Path) -> None:
    account.save(tmp_path / "run.nc")
    found = load_result(tmp_path / "run.nc")
    assert found.identical(account.to_xarray())
    assert found["source_token"].values[0].tolist() == [printable(TEXTS[i]) for i in IDS]
    assert found["source_token_id"].values[0].tolist() == IDS
    assert found.attrs["prompt"] == printable(PROMPT) and found.attrs["model"] == printable(MODEL)
    layers = found["layer_effects"].sel(part="mlp").values
    assert layers.tolist() == [row["mlp"]["direct_effect"] for row in account.to_dict()["layers"]]


def test_the_json_gives_every_text_back(account: Account) -> None:
    text = account.to_json()
    assert all(line.isprintable() for line in text.splitlines())
    found = json.loads(text)
    assert found == account.to_dict()
    assert found["tokens"] == TEXTS[:12] and found["prompt"] == PROMPT and found["model"] == MODEL


def test_the_account_shows_itself(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert repr(account) == text_of(whole_report(account), Screen(100))
    shown = account._repr_html_()
    assert shown.replace("\n", "").isprintable() and "[bold red]" in shown and "<td>0.head.1</td>" in shown


def test_the_json_says_all_that_the_tables_say(model: landed.Model, account: Account) -> None:
    """Against the model's logits and the functions for each number alone."""
    found = account.to_dict()
    trace = model.trace([IDS], record=landed.WRITES | landed.SOURCES, at=-1)
    logits = np.asarray(trace.logits[0, 0], np.float64)
    ranked = np.argsort(-logits)
    probabilities = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    said = found["prediction"]
    assert [token["id"] for token in said["likeliest"]] == ranked[:5].tolist()
    assert said["target"] == said["likeliest"][0] and said["against"] is None
    for rank, token in enumerate(said["likeliest"]):
        assert token["rank"] == rank and token["text"] == TEXTS[token["id"]]
        assert token["probability"] == pytest.approx(probabilities[token["id"]], rel=1e-4)
        assert token["log_probability"] == pytest.approx(np.log(probabilities[token["id"]]), rel=1e-4)
        assert token["logit"] == pytest.approx(logits[token["id"]], abs=1e-4)
    first, second = (int(i) for i in ranked[:2])
    other = found["runner_up"]
    assert (other["id"], other["text"]) == (second, TEXTS[second])
    assert other["difference"] == pytest.approx(logits[first] - logits[second], abs=1e-4)
    assert other["sum_of_landed"] == pytest.approx(other["difference"], abs=1e-4)
    beside = landed.attribute(trace, first, against=second)
    split = landed.attribute_by_source(trace, first).landed
    for row in found["top_writes"]:
        parts = beside.landed, beside.direct_effect
        if row["kind"] == "embedding":
            pair = [float(part.embedding[0, 0]) for part in parts]
        else:
            pair = [float(getattr(part, f"{row['kind']}s")[row["layer"], 0, 0, row["index"]]) for part in parts]
        assert [row["difference"][name] for name in ("landed", "direct_effect")] == pytest.approx(pair, abs=1e-4)
        assert (row["source"] is None) == (row["kind"] != "head")
        if row["source"]:
            brought = np.asarray(split[row["layer"], 0, 0, row["index"]])
            assert row["source"]["landed"] == pytest.approx(float(brought[row["source"]["position"]]), abs=1e-5)
            assert abs(row["source"]["landed"]) == pytest.approx(np.abs(brought).max(), abs=1e-5)
            assert row["source"]["text"] == TEXTS[row["source"]["id"]]
    whole = found["embedding"] + sum(part["landed"] for layer in found["layers"] for part in layer.values())
    assert whole == pytest.approx(found["logit"], abs=1e-4)
    effects = landed.attribute(trace, first).direct_effect
    assert found["embedding_direct_effect"] == pytest.approx(float(effects.embedding[0, 0]), abs=1e-4)
    for layer, parts in enumerate(found["layers"]):
        for name, kind in (("attention", "attn"), ("mlp", "mlp")):
            group = landed.attribution.layer_group(SMALL, layer, kind)
            effect = landed.attribution.group_effect(trace, first, group=group).effect
            assert parts[name]["direct_effect"] == pytest.approx(float(effect[0, 0]), abs=1e-4)


@pytest.mark.slow
def test_positions_and_the_norms_own_bias_are_parts_of_the_value(tmp_path: Path) -> None:
    config = dataclasses.replace(LAYER_NORM, vocab_size=len(TEXTS), parallel_blocks=True)
    model = landed.Model(config, random_params(config), Troublesome(), "gpt")
    account = model.run(PROMPT, top=1000, sections=["by_source", "lens", "effects", "coordinates"])
    found = account.to_dict()
    parts = [found["embedding"], found["position_embedding"], found["bias"], *found["mlp"], *np.ravel(found["heads"])]
    assert sum(parts) == pytest.approx(found["sum_of_landed"], abs=1e-5)
    assert found["sum_of_landed"] == pytest.approx(found["logit"], abs=1e-5)
    trace = model.trace([IDS], record=landed.WRITES | landed.SOURCES, at=-1)
    shares = landed.attribute(trace, found["target"]["id"])
    assert shares.landed.position_embedding is not None and shares.direct_effect is not None
    assert found["position_embedding"] == pytest.approx(float(shares.landed.position_embedding[0, 0]), abs=1e-5)
    assert found["bias"] == pytest.approx(float(shares.landed.bias[0, 0] + shares.offset[0, 0]), abs=1e-5)
    effect = float(shares.direct_effect.position_embedding[0, 0])
    assert found["position_embedding_direct_effect"] == pytest.approx(effect, abs=1e-5)
    row = next(row for row in found["top_writes"] if row["kind"] == "position")
    assert (row["layer"], row["index"], row["source"]) == (None, None, None)
    assert (row["landed"], row["direct_effect"]) == pytest.approx((found["position_embedding"], effect), abs=1e-5)
    text = text_of(whole_report(account), Screen(200))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert f"position embedding {found['position_embedding']:+.4f} {effect:+.4f}" in lines
    assert f"β of the norm {float(shares.offset[0, 0]):+.4f}" in lines
    account.save(tmp_path / "run.nc")
    assert load_result(tmp_path / "run.nc").identical(account.to_xarray())


def test_probabilities_of_a_model_that_is_sure() -> None:
    logits = np.full(50, -30.0, np.float32)
    logits[7], logits[9] = 0.0, -2000.0
    found = predict(logits, [7, 8, 9]).asked
    sure = np.log1p(48 * np.exp(-30.0))
    np.testing.assert_allclose(found.log_probabilities, [-sure, -30.0 - sure, -2000.0 - sure], rtol=1e-12)
    assert found.ranks.tolist() == [0, 1, 49] and predict(logits, [7]).likeliest.ids.tolist() == [7, 0, 1, 2, 3]
    alone = predict(np.zeros(1), [0])
    assert alone.asked.log_probabilities.tolist() == [0.0] and alone.likeliest.ids.tolist() == [0]


def test_a_section_that_there_is_not(model: landed.Model) -> None:
    with pytest.raises(LandedError, match="no section 'sources'"):
        model.run(PROMPT, sections=["sources"])
