"""σ frozen against σ live over prompts: every number by brute force in NumPy's float64, pooled, with intervals."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

import landed_jax as landed
from benchmarks import sigma_gap_tables
from landed_jax import LandedError
from landed_jax.intervals import bootstrap
from landed_jax.nn.config import ModelConfig
from landed_jax.report.study_report import study_document, study_report
from landed_jax.results.measures import COMPONENTS, MEASURES
from landed_jax.studies import SigmaGap, Study, sigma_gaps
from landed_jax.tables.draw import text_of
from landed_jax.tables.screen import Screen
from landed_jax.tasks import Answers, Prompt
from tests.models import CONFIGS, random_params
from tests.reference.landed import every_write, heard, sigma_of
from tests.reference.numpy_model import numpy_forward, soft_capped
from tests.studies.runs import prompts_of, tiny
from tests.traces import unembedding

Pairs = dict[tuple[str, str, int], tuple[list[float], list[float]]]


class Numbered:
    """A tokenizer whose texts are ids."""

    def encode_all(self, texts: list[str], add_special_tokens: bool = True) -> list[list[int]]:
        return [list(map(int, text.split())) for text in texts]

    def token_id(self, text: str) -> int:
        return int(text)

    def text(self, token: int) -> str:
        return str(token)


ASKED = (
    ((1, 5, 7), Answers(("3",), ("4", "6"))),
    ((2, 7), Answers(("2", "5"), ())),
    ((5, 3, 1), None),
    ((4,), Answers(("1",), ("2",))),
)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in ("small", "layer_norm") else pytest.mark.slow) for name in CONFIGS]
)
def test_equals_brute_force(name: str, x64: None) -> None:
    config = CONFIGS[name]
    params = random_params(config, dtype=jnp.float64)
    asked = [(ids[-config.max_positions :], answers) for ids, answers in ASKED]
    prompts = [Prompt("", " ".join(map(str, ids)), "", (answers,) if answers else ()) for ids, answers in asked]
    model: Any = dataclasses.replace(tiny(config), params=params, vocabulary=Numbered())
    found = landed.study(model, prompts, ["sigma_gap"])
    pairs: Pairs = {}
    for number, (ids, answers) in enumerate(asked):
        values = by_brute_force(params, config, ids, answers, pairs)
        np.testing.assert_allclose(found.rows["sigma_gap.value"][number], values, atol=1e-10)
    rows = sigma_gaps(found)
    for row in rows:
        if row.among == "all":
            same = [pair for (measure, part, layer), pair in pairs.items() if covers(row, measure, part, layer)]
            estimate, effect = (np.concatenate([np.array(pair[side]) for pair in same]) for side in (0, 1))
            nmae = np.abs(estimate - effect).sum() / np.abs(effect).sum()
            np.testing.assert_allclose(row.nmae.value, nmae, rtol=1e-7)
            np.testing.assert_allclose(row.correlation.value, np.corrcoef(estimate, effect)[0, 1], rtol=1e-6)
            assert row.prompts == 4 and row.nmae.low <= row.nmae.value <= row.nmae.high
    quarter = len([row for row in rows if row.among != "all"])
    assert len(rows) - quarter == 12 * (1 + config.n_layers) and quarter == 12


def test_an_mlp_that_is_nearly_the_stream_keeps_the_digits_of_what_stays_in_float32() -> None:
    config, last = CONFIGS["biased"], str(CONFIGS["biased"].n_layers - 1)
    params = random_params(config)
    mlp = params["layers"][last]["mlp"]
    larger = mlp | {name: mlp[name].at[3].multiply(1e6) for name in ("W_down", "b_down") if name in mlp}
    params = params | {"layers": params["layers"] | {last: params["layers"][last] | {"mlp": larger}}}
    ids, W_U = (5,), unembedding(params, config)
    numbers = numpy_forward(params, np.array([ids]), np.ones((1, 1), bool), config)
    written, gamma, beta = every_write(numbers, config, 0, 0), numbers["gamma"][-1], numbers["beta"][-1]
    mine = np.array([kind in ("neuron", "mlp_bias") and at == int(last) for kind, at, _ in written.names])
    whole, left = numbers["residual"][-1, 0, 0], written.vectors[~mine].sum(0)
    assert np.linalg.norm(whole) > 1e4 * np.linalg.norm(left)
    with_mlp, without = (
        log_softmax(W_U @ (heard(x, config) / sigma_of(x, config) * gamma + beta)) for x in (whole, left)
    )
    target = with_mlp.argmax()
    found = landed.study(dataclasses.replace(tiny(config), params=params), [list(ids)], ["sigma_gap"])
    effect = found.rows["sigma_gap.mean_measured"][0, MEASURES.index("log-probability"), COMPONENTS.index("MLPs"), -1]
    np.testing.assert_allclose(effect, (with_mlp - without)[target], rtol=1e-5)


def covers(row: SigmaGap, measure: str, part: str, layer: int) -> bool:
    return row.measure == measure and row.component == part and row.layer in (None, layer)


def by_brute_force(
    params: dict, config: ModelConfig, ids: tuple[int, ...], answers: Answers | None, pairs: Pairs
) -> list[float]:
    """The values; appends each component's landed contribution and direct effect to `pairs`."""
    tokens = np.array([ids])
    numbers = numpy_forward(params, tokens, np.ones_like(tokens, bool), config)
    p, W_U, cap = len(ids) - 1, unembedding(params, config), config.logit_cap
    written, stream = every_write(numbers, config, 0, p), numbers["residual"][-1, 0, p]
    gamma, beta, sigma = numbers["gamma"][-1], numbers["beta"][-1], sigma_of(stream, config)
    logits = numbers["logits"][0, p]
    right = list(map(int, answers.right)) if answers else [int(logits.argmax())]
    others = np.where(np.isin(np.arange(len(W_U)), right), -np.inf, logits)
    wrong = list(map(int, answers.wrong)) if answers and answers.wrong else [int(others.argmax())]

    def normed(x: np.ndarray) -> np.ndarray:
        return heard(x, config) / sigma_of(x, config) * gamma + beta

    def log_p(x: np.ndarray) -> np.ndarray:
        return log_softmax(soft_capped(W_U @ normed(x), cap))

    logit = W_U[right].mean(0)
    slope = 1 - np.square(logits / cap) if cap else np.ones(len(W_U))
    gradient = slope[right[0]] * W_U[right[0]] - (np.exp(log_p(stream)) * slope) @ W_U
    vectors = [logit, logit - W_U.mean(0), logit - W_U[wrong].mean(0), gradient]
    reads: list[Any] = [lambda x, u=u: float(normed(x) @ u) for u in vectors[:3]]
    reads.append(lambda x: float(log_p(x)[right[0]]))
    for layer in range(config.n_layers):
        places = {
            part: [i for i, (kind, at, _) in enumerate(written.names) if kind in kinds and at == layer]
            for part, kinds in (("heads", ["head"]), ("neurons", ["neuron"]), ("MLPs", ["neuron", "mlp_bias"]))
        }
        gone = {part: (written.vectors[mine], written.lost[mine]) for part, mine in places.items()}
        gone["MLPs"] = (gone["MLPs"][0].sum(0)[None],) * 2
        for measure, read, u in zip(MEASURES, reads, vectors, strict=True):
            for part, (writes, lost) in gone.items():
                estimate = heard(writes, config) * gamma / sigma @ u
                effect = np.array([read(stream) - read(stream - w) for w in lost])
                if measure != "log-probability" and not config.output_norms:
                    # The gap of a linear read, whose value is without what β gives.
                    value, without = read(stream) - beta @ u, np.array([sigma_of(stream - w, config) for w in lost])
                    gap = (estimate - value) * (sigma / without - 1)
                    np.testing.assert_allclose(effect - estimate, gap, atol=1e-10)
                mine = pairs.setdefault((measure, part, layer), ([], []))
                mine[0].extend(estimate.tolist())
                mine[1].extend(effect.tolist())
    return [read(stream) for read in reads]


@pytest.fixture(scope="module")
def several() -> Study:
    return landed.study(tiny(), prompts_of(40), ["sigma_gap"])


def test_intervals_draw_prompts_again_and_quarters_go_by_the_difference(several: Study) -> None:
    rows = {(row.measure, row.component, row.layer, row.among): row for row in sigma_gaps(several)}
    error, size = (several.rows[f"sigma_gap.{name}"].astype(np.float64) for name in ("error", "size"))
    both = np.stack([error, size], axis=1)[:, :, 0, 1, 0]
    found = rows["logit", "neurons", 0, "all"].nmae
    low, high = bootstrap(both, lambda drawn: drawn[:, 0].sum() / drawn[:, 1].sum(), resamples=4000)
    np.testing.assert_allclose([found.low, found.high], [low, high], atol=0.15 * (high - low))
    by_size = np.argsort(np.abs(several.rows["sigma_gap.value"][:, 2]), kind="stable")
    for members, name in ((by_size[:10], "smallest quarter"), (by_size[30:], "largest quarter")):
        row = rows["logit difference", "heads", None, name]
        np.testing.assert_allclose(row.nmae.value, error[members, 2, 0].sum() / size[members, 2, 0].sum(), rtol=1e-9)
        np.testing.assert_allclose(row.size, np.median(np.abs(several.rows["sigma_gap.value"][members, 2])), rtol=1e-6)
    assert sigma_gaps(several, level=0.5)[0].nmae.low > sigma_gaps(several)[0].nmae.low


def test_what_does_not_vary_has_no_correlation_and_few_prompts_no_interval_of_one(several: Study) -> None:
    """Prompts that are the first one again but for rounding, and some others that are not."""
    random = np.random.default_rng(0)
    for other, count in ((0, 12), (1, 12), (3, 12), (7, 7), (8, 8)):
        rows = {name: values[[*range(1, other + 1), *[0] * (count - other)]] for name, values in several.rows.items()}
        for name in ("mean_estimate", "mean_measured"):
            noise = 1e-7 * random.normal(size=rows[f"sigma_gap.{name}"].shape)
            rows[f"sigma_gap.{name}"] = (rows[f"sigma_gap.{name}"] * (1 + noise)).astype(np.float32)
        for name in ("error", "size"):
            rows[f"sigma_gap.{name}"] = rows[f"sigma_gap.{name}"].copy()
            rows[f"sigma_gap.{name}"][:, 1, 0, 0] = float(name == "error")
        found = {row[:4]: row[-2:] for row in map(astuple, sigma_gaps(dataclasses.replace(several, _windows=[rows])))}
        nmae, of_mlp = found["logit", "MLPs", 0, "all"]
        assert nmae[1] <= nmae[0] <= nmae[2]
        assert np.isnan(of_mlp[0]) == (other == 0), "one number over and over has no correlation"
        assert np.isfinite(of_mlp[1:]).all() == (other in (3, 8)), (other, of_mlp)
        assert np.isfinite(found["logit", "heads", 0, "all"][1][1:]).all() == (count >= 8)
        assert np.isnan(found["centred logit", "heads", 0, "all"][0]).all(), "no effect to be a part of"


def astuple(row: SigmaGap) -> tuple[Any, ...]:
    return tuple(getattr(row, field.name) for field in dataclasses.fields(row))


def test_what_is_shown(several: Study) -> None:
    screen = Screen(80)
    shown = text_of(study_report(several), screen)
    assert max(map(len, shown.splitlines())) <= 80
    for said in (*MEASURES, *COMPONENTS, "largest quarter", "The same layer by layer"):
        assert said in shown
    rows = study_document(several)["sigma_gap"]
    assert len(rows) == 12 * 3 + 12
    first = sigma_gaps(several)[0]
    assert rows[0]["nmae"] == {"value": first.nmae.value, "low": first.nmae.low, "high": first.nmae.high}
    # One prompt: its own number at both ends, and no correlation over one MLP.
    one, none = (first_of(several, count) for count in (1, 0))
    alone = study_document(one)["sigma_gap"]
    assert alone[0]["nmae"]["low"] == alone[0]["nmae"]["value"] == alone[0]["nmae"]["high"]
    of_one_mlp = [row for row in alone if row["component"] == "MLPs" and row["layer"] == 0]
    assert [row["correlation"]["value"] for row in of_one_mlp] == [None] * 4
    assert "log-probability" in text_of(study_report(one), screen)
    assert study_document(none)["sigma_gap"] == [] and "layer by layer" not in text_of(study_report(none), screen)
    assert sigma_gaps(dataclasses.replace(several, _windows=[])) == []


def first_of(study: Study, count: int) -> Study:
    return dataclasses.replace(study, _windows=[{name: rows[:count] for name, rows in study.rows.items()}])


def test_the_tables_of_the_page(several: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.json").write_text(json.dumps(study_document(several)))
    assert sigma_gap_tables.run([str(tmp_path / "a.json")] * 2) == 0
    said = capsys.readouterr().out
    assert said.count("### tiny: in Python") == 2 and said.count("| largest quarter | ") == 2
    for lines in (said.split("\n\n")[place].splitlines() for place in (2, 4, 6)):
        assert len({line.count("|") for line in lines}) == 1
    (tmp_path / "few.json").write_text(json.dumps(study_document(several) | {"prompts": 39}))
    assert sigma_gap_tables.run([str(tmp_path / "few.json")]) == 0
    few = capsys.readouterr().out
    assert "quarter | " not in few and "fewer than 40" in few
    gap = sigma_gaps(several)[0]
    assert f"| logit | {gap.size:.3g} | {gap.nmae.value:.0%} ({gap.nmae.low:.0%}"[:-1] in said


def test_what_is_refused(several: Study) -> None:
    with pytest.raises(LandedError, match='kept no "sigma_gap"'):
        sigma_gaps(landed.study(tiny(), [[1]], ["attribution"]))
    with pytest.raises(LandedError, match="between 0 and 1"):
        sigma_gaps(several, level=95)
