import hashlib
import re
from pathlib import Path

import numpy as np
import pytest

import landed_jax as landed
from landed_jax.checkpoints.bundle import bundled_folder
from landed_jax.nn.parameters import count_parameters
from landed_jax.testbed.scoring import Score, ask, score_model
from landed_jax.testbed.training import ARCHITECTURE
from tests.needs import NO_TORCH

CARD = (bundled_folder() / "MODEL_CARD.md").read_text(encoding="utf-8")

# What the model must reach on held-out sentences, by task and, where they differ, by condition.
BARS = {
    "facts": 0.95,
    "agreement": {"no attractor": 0.95, "one attractor": 0.90, "two attractors": 0.90, "three attractors": 0.90},
    "indirect object": 0.95,
    "induction": 0.90,
    "succession": 0.95,
}


@pytest.fixture(scope="module")
def model() -> landed.Model:
    return landed.load()


@pytest.fixture(scope="module")
def scores(model: landed.Model) -> list[Score]:
    return score_model(model, 100, seed=11)  # other sentences than the card's


@pytest.mark.quick
def test_the_file_is_the_one_on_the_card() -> None:
    weights = (bundled_folder() / "model.safetensors").read_bytes()
    assert hashlib.sha256(weights).hexdigest() in CARD
    assert sum(file.stat().st_size for file in bundled_folder().iterdir()) <= 8_000_000


def test_it_is_the_architecture_of_the_training(model: landed.Model) -> None:
    assert model.config == ARCHITECTURE
    assert 1_000_000 <= count_parameters(model.config) <= 4_000_000
    assert f"{count_parameters(model.config):,}" in CARD
    assert model.config.n_layers >= 4 and model.config.n_kv_heads < model.config.n_heads


def test_held_out_accuracy(scores: list[Score]) -> None:
    for score in scores:
        bar = BARS[score.task]
        assert score.judged >= (bar[score.condition] if isinstance(bar, dict) else bar), score


def test_the_card_has_every_condition(scores: list[Score]) -> None:
    rows = re.findall(r"^\| ([^|]+?) *\| ([^|]+?) *\| +[\d,]+ \| +([\d.]+) % \| +([\d.]+) % \|$", CARD, re.MULTILINE)
    assert [(task, condition) for task, condition, *_ in rows] == [(s.task, s.condition) for s in scores]
    for score, (*_, first, above) in zip(scores, rows, strict=True):
        # Other sentences of the same condition: within four standard errors, and one sentence more.
        for measured, written in ((score.first, float(first) / 100), (score.above_foil, float(above) / 100)):
            spread = 4 * np.sqrt(written * (1 - written) / score.count) + 1 / score.count
            assert abs(measured - written) <= spread, score


def test_scores_are_those_of_each_prompt_alone(model: landed.Model) -> None:
    questions = ask(model.vocabulary, 3, seed=2)
    scores = score_model(model, 3, seed=2)
    rank, above = [], []
    whole = [(ids, mask) for chunk in questions.tokens for ids, mask in zip(chunk.ids, chunk.mask, strict=True)]
    for (ids, mask), answer, foil in zip(whole, questions.answers, questions.foils, strict=False):
        logits = np.asarray(model.trace([ids[mask].tolist()], record=(), at=-1).logits[0, 0])
        rank.append(logits.argmax() == answer)
        above.append(logits[answer] > logits[foil])
    ends = np.cumsum([s.count for s in scores])[:-1]
    np.testing.assert_allclose([s.first for s in scores], [part.mean() for part in np.split(rank, ends)])
    np.testing.assert_allclose([s.above_foil for s in scores], [part.mean() for part in np.split(above, ends)])


def test_no_prompt_is_asked_twice(model: landed.Model) -> None:
    questions = ask(model.vocabulary, 100)
    asked = [tuple(row) for chunk in questions.tokens for row in chunk.ids.tolist()][: len(questions.answers)]
    assert len(set(asked)) == len(asked) == sum(count for *_, count in questions.groups)
    counts = {condition: count for _, condition, count in questions.groups}
    assert counts["seasons"] == 4 and counts["two attractors"] == 100


def test_transformers_reads_it_too(model: landed.Model) -> None:
    torch = pytest.importorskip("torch", reason=NO_TORCH)
    from transformers import AutoModelForCausalLM, AutoTokenizer

    reference = AutoModelForCausalLM.from_pretrained(bundled_folder())
    ids = AutoTokenizer.from_pretrained(bundled_folder())("The Colosseum is in the city of")["input_ids"]
    with torch.no_grad():
        expected = reference(torch.tensor([ids])).logits[0].numpy()
    np.testing.assert_allclose(model.trace([ids]).logits[0], expected, atol=2e-5 * np.abs(expected).max(), rtol=0)


def test_it_knows_where_the_colosseum_is(model: landed.Model) -> None:
    shares = landed.attribute(model.trace("The Colosseum is in the city of", at=-1))
    assert model.vocabulary.text(int(shares.target[0, 0])) == " Rome"
    assert float(shares.closure_error[0, 0]) <= 1e-5 * abs(float(shares.value[0, 0]))


def test_a_folder_of_that_name_is_reached_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bundled").mkdir()
    monkeypatch.chdir(tmp_path)
    assert landed.load("bundled").folder == bundled_folder()
    with pytest.raises(landed.LandedError):
        landed.load("./bundled")
