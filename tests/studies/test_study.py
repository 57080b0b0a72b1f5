"""Each prompt's numbers are those that it has alone; none is lost; what is kept is what the analyses give."""

import dataclasses
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax import RESIDUALS, SOURCES, WRITES, LandedError, Tokens
from landed_jax.studies import Kind, Measured
from landed_jax.studies.keeps import keeps
from landed_jax.tasks import Answers, Prompt
from tests.models import CONFIGS, SMALL
from tests.studies.runs import prompts_of, short_windows, tiny

# But for what has a test of its own, test_sigma_gap.py, and is the longest to compile.
EVERYTHING = tuple(name for name in keeps() if name != "sigma_gap")


def alone(model: landed.Model, ids: list[int]) -> dict[str, np.ndarray]:
    """One prompt's numbers by the analyses themselves, without padding and without a batch."""
    trace = model.trace(Tokens.from_lists([ids]), record=WRITES | RESIDUALS | SOURCES)
    last = trace.select(-1)
    shares, lens = landed.attribute(last), landed.logit_lens(last)
    effects = landed.attribution.layer_effects(last)
    carried = landed.coordinates(last)
    sources = landed.attribute_by_source(last).landed[:, 0, 0]
    none = jnp.zeros_like(sources[..., 0])
    assert shares.direct_effect is not None
    return {
        "attribution.value": shares.value[0, 0],
        "attribution.heads": shares.landed.heads[:, 0, 0],
        "attribution.mlp": shares.landed.mlp[:, 0, 0],
        "effects.heads": shares.direct_effect.heads[:, 0, 0],
        "effects.mlp": effects.mlp_effect[:, 0, 0],
        "lens.own_sigma": lens.own_sigma[:, 0, 0],
        "lens.final_sigma": lens.final_sigma[:, 0, 0],
        "coordinates.settled": jnp.stack([carried.settled_count(p / 100)[0, 0] for p in (50, 90, 99)]),
        # Without a tokenizer no token is a delimiter.
        "sources.heads": jnp.stack([sources[..., 0], none, sources[..., 1:].sum(-1)], axis=-1),
        "sources.itself": sources[..., -1],
        "sigma": trace.sigma[:, 0],
    }


@pytest.mark.quick
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "small" else pytest.mark.slow) for name in CONFIGS]
)
def test_each_prompts_numbers_are_its_own(name: str, monkeypatch: pytest.MonkeyPatch, x64: None) -> None:
    short_windows(monkeypatch)
    config = CONFIGS[name]
    model = tiny(config)
    random = np.random.default_rng(0)
    lengths = [min(length, config.max_positions) for length in (5, 2, 3, 2, 5, 3, 2)]
    prompts = [*(random.integers(0, config.vocab_size, length).tolist() for length in lengths), []]
    found = landed.study(model, prompts, EVERYTHING)
    assert found.without_numbers == {"empty": 1} and found.prompts == 8
    assert found.rows["prompt"].tolist() == list(range(8))
    sigma = []
    for number, ids in enumerate(prompts[:-1]):
        expected = alone(model, ids)
        sigma.append(np.asarray(expected.pop("sigma")))
        for variable, value in expected.items():
            scale = 1e-9 * max(1.0, float(np.abs(value).max()))
            np.testing.assert_allclose(found.rows[variable][number], value, atol=scale, rtol=0, err_msg=variable)
    # Statistics over positions: without a tokenizer no token is a delimiter.
    first, other = np.stack([one[:, 0] for one in sigma]), np.concatenate([one[:, 1:] for one in sigma], axis=1).T
    moments = found.statistics["scale.sigma"].moments
    for place, samples in ((0, first), (2, other)):
        np.testing.assert_allclose(moments.mean[:, place], samples.mean(axis=0), rtol=1e-9)
        assert moments.count[:, place].tolist() == [len(samples)] * len(moments.count)
    rows = found.rows["attribution.heads"][:-1]
    np.testing.assert_allclose(found.statistics["attribution.heads"].moments.mean, rows.mean(axis=0), atol=1e-12)


def test_batches_change_no_number(monkeypatch: pytest.MonkeyPatch, x64: None) -> None:
    model, prompts = tiny(), prompts_of(23)
    whole = landed.study(model, prompts, ("attribution", "scale", "top"))
    short_windows(monkeypatch)
    cut = landed.study(model, prompts, ("attribution", "scale", "top"))
    for name, values in whole.rows.items():
        np.testing.assert_allclose(cut.rows[name], values, atol=1e-12, rtol=0, equal_nan=True)
    for name, part in whole.statistics.items():
        np.testing.assert_allclose(cut.statistics[name].moments.mean, part.moments.mean, rtol=1e-9, atol=1e-12)
        if part.largest is not None:
            np.testing.assert_array_equal(cut.statistics[name].largest.prompts, part.largest.prompts)


def test_no_prompt_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    short_windows(monkeypatch)
    config = dataclasses.replace(SMALL, max_positions=6)
    model = tiny(config)
    broken = {**model.params, "embed": {"W_E": model.params["embed"]["W_E"].at[12].set(jnp.inf)}}
    model = dataclasses.replace(model, params=broken)
    prompts: list[Any] = [[1, 2], [], [3] * 7, [12, 1], [99], [-1], Prompt("", "", "", (Answers(("#3",), ()),)), [5]]
    found = landed.study(model, prompts, ("attribution", "scale"), position=-2)
    assert sum(found.without_numbers.values()) == 7 and found.prompts == len(prompts)
    names = [found.reasons[code] for code in found.rows["reason"]]
    assert names[:3] == ["", "empty", "too long"] and names[3].startswith("not finite: ")
    assert names[4:] == ["ids", "ids", "empty", "too short"]
    assert np.isfinite(found.statistics["attribution.value"].moments.mean)
    assert found.statistics["attribution.value"].moments.count == 1
    assert landed.study(model, [[], [99]], ("attribution",)).statistics["attribution.value"].moments.count == 0


def test_answers_are_what_is_asked(x64: None) -> None:
    model = tiny()
    prompts = [
        Prompt("", "#", "", (Answers(("#3",), ("#4", "#5")),)),
        Prompt("", "#", "", (Answers(("#99",), ()), Answers(("#2", "#7"), ()))),
        Prompt("", "#", "", ()),
        Prompt("", "#", "", (Answers(("#99",), ()),)),
    ]

    class Ids:  # a tokenizer of one text
        def encode_all(self, texts: list[str], add_special_tokens: bool = True) -> list[list[int]]:
            return [[1, 5, 7] for _ in texts]

        def token_id(self, text: str) -> int:
            return int(text[1:])

        def text(self, token: int) -> str:
            return "."

    asked: Any = dataclasses.replace(model, vocabulary=Ids())
    found = landed.study(asked, prompts, ("attribution",))
    logits = np.asarray(model.trace([[1, 5, 7]], at=-1).logits)[0, 0]
    expected = [logits[3] - (logits[4] + logits[5]) / 2, (logits[2] + logits[7]) / 2, logits.max(), np.nan]
    np.testing.assert_allclose(found.rows["attribution.value"], expected, atol=1e-9)
    assert found.without_numbers == {"answers": 1}
    assert found.statistics["attribution.closure_error"].moments.maximum < 1e-9


def test_a_users_own_reductions(monkeypatch: pytest.MonkeyPatch, x64: None) -> None:
    short_windows(monkeypatch)
    model, prompts = tiny(), prompts_of(9)

    def by_hand(trace: landed.Trace) -> dict[str, Any]:
        length = jnp.sum(trace.tokens.mask, axis=1, dtype=float)
        return {"length": length, "pair": (("side",), jnp.stack([length, -length], axis=1) * 0.5)}

    def growth(trace: landed.Trace) -> Any:
        return landed.amplification(trace.select(trace.tokens.ids.shape[1] - 1)).by_coordinate(0)[:, 0]

    def amplification(trace: landed.Trace) -> Any:
        return landed.coordinates(trace.select(trace.tokens.ids.shape[1] - 1), 4)

    found = landed.study(model, prompts, (by_hand, amplification))
    assert found.rows["by_hand.length"].tolist() == list(map(len, prompts))
    assert found.to_xarray()["by_hand.pair"].dims == ("prompt", "side")
    one = landed.coordinates(model.trace([prompts[0]]).select(len(prompts[0]) - 1), 4)
    np.testing.assert_allclose(found.rows["amplification.contributions"][0], one.contributions[0, 0], atol=1e-9)
    with pytest.raises(LandedError, match="Result or arrays by their names"):
        landed.study(model, prompts, (growth,))
    with pytest.raises(LandedError, match="define it by def"):
        landed.study(model, prompts, (lambda trace: {},))
    with pytest.raises(LandedError, match="nothing to keep by the name 'nothing'"):
        landed.study(model, prompts, ("nothing",))


def test_a_keeps_shapes_are_checked() -> None:
    keep = dataclasses.replace(
        keeps()["scale"], name="odd", measure=lambda view: {"sum": Measured(jnp.zeros(3), Kind())}
    )
    with pytest.raises(LandedError, match="its first axis is the prompts'"):
        landed.study(tiny(), [[1]], (keep,))


def test_one_batch_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    short_windows(monkeypatch)
    model, prompts = tiny(), prompts_of(14)
    found = list(landed.studies.batches(model, prompts, ("attribution",)))
    assert [len(part.prompts) for part in found] == [4, 4, 4, 2]
    whole = landed.study(model, prompts, ("attribution",))
    order = np.argsort(np.concatenate([part.prompts for part in found]))
    values = np.concatenate([part.rows["attribution.heads"] for part in found])[order]
    np.testing.assert_array_equal(values, whole.rows["attribution.heads"])


@pytest.mark.parametrize("name", ["small", pytest.param("experts", marks=pytest.mark.slow)])
def test_the_largest_writes_are_named(name: str, x64: None) -> None:
    """Beside the table of one prompt's largest writes, experts' neurons too."""
    config = CONFIGS[name]
    model = tiny(config)
    ids = prompts_of(3, vocab=config.vocab_size, longest=min(5, config.max_positions))
    found = landed.study(model, ids, ("top",))
    heads = config.n_layers * config.n_heads
    for number, prompt in enumerate(ids):
        rows = landed.attribute(model.trace([prompt], at=-1)).top(20)
        rows = [row for row in rows if row.kind in ("head", "neuron")][: found.rows["top.landed"].shape[1]]
        np.testing.assert_allclose(found.rows["top.landed"][number], [row.landed for row in rows], atol=1e-9)
        whole = max(config.n_experts, 1) * config.d_ff
        named = [
            row.layer * config.n_heads + row.index
            if row.kind == "head"
            else heads + row.layer * whole + (row.expert or 0) * config.d_ff + row.index
            for row in rows
        ]
        assert sorted(found.rows["top.write"][number].tolist()) == sorted(named)


def test_studies_merge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short_windows(monkeypatch)
    model, prompts, keep = tiny(), [*prompts_of(20), []], ("scale", "stability", "attribution", "top")
    whole = landed.study(model, prompts, keep)
    for name, part in (("a", prompts[:9]), ("b", prompts[9:])):
        landed.study(model, part, keep, tmp_path / name)
    found = landed.studies.merge([tmp_path / "a", tmp_path / "b"], tmp_path / "c")
    assert found.prompts == 21 and found.without_numbers == whole.without_numbers
    for name, rows in whole.rows.items():
        np.testing.assert_allclose(found.rows[name], rows, rtol=1e-4, atol=1e-5)
    for name, part in whole.statistics.items():
        other = found.statistics[name]
        np.testing.assert_array_equal(other.moments.count, part.moments.count)
        np.testing.assert_allclose(other.moments.mean, part.moments.mean, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(other.moments.deviation, part.moments.deviation, rtol=1e-3, atol=1e-5)
        if part.largest is not None and other.largest is not None:
            np.testing.assert_allclose(other.largest.values, part.largest.values, rtol=1e-4, atol=1e-6)
        if part.groups is not None and other.groups is not None:
            np.testing.assert_allclose(other.groups.within, part.groups.within, rtol=1e-3, atol=1e-5)
            np.testing.assert_allclose(other.groups.between, part.groups.between, rtol=1e-3, atol=1e-5)
        if part.ranks is not None and other.ranks is not None:
            np.testing.assert_allclose(other.ranks.mean, part.ranks.mean, atol=1e-2)  # equal sizes may round apart
    landed.study(model, prompts[:5], ("scale",), tmp_path / "other")
    for folders, said in (
        (["a", "other"], "keep is"),
        (["a", "a"], "same prompts"),
        (["a"], "two or more"),
        (["a", "nowhere"], "no study"),
    ):
        with pytest.raises(LandedError, match=said):
            landed.studies.merge([tmp_path / folder for folder in folders], tmp_path / "d")
        assert not (tmp_path / "d").exists()
    with pytest.raises(LandedError, match="already there"):
        landed.studies.merge([tmp_path / "a", tmp_path / "b"], tmp_path / "c")


def test_a_study_run_again_is_the_same_and_another_model_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short_windows(monkeypatch)
    file = tmp_path / "prompts.txt"
    file.write_text("\n".join(" ".join(map(str, ids)) for ids in prompts_of(14)))
    model = tiny()
    landed.study(model, file, ("scale", "attribution", "effects"), tmp_path / "store", ids=True)
    again = landed.studies.rerun(tmp_path / "store", lambda name: model)
    assert again.same and not again.made and not any(each.changed for each in again.differences)
    other = dataclasses.replace(model, params={**model.params, "embed": {"W_E": model.params["embed"]["W_E"] * 1.01}})
    changed = landed.studies.rerun(tmp_path / "store", lambda name: other)
    assert not changed.same and any("model.weights" in said for said in changed.made)
    # Another order of sums is within the error bars, and is not the same to the bit.
    monkeypatch.setattr("landed_jax.studies._batches.TOGETHER", 2)
    rounded = landed.studies.rerun(tmp_path / "store", lambda name: model)
    assert rounded.same
    file.write_text("1 2")
    with pytest.raises(LandedError, match="The prompts are others now"):
        landed.studies.rerun(tmp_path / "store", lambda name: model)
    landed.study(model, [[1, 2]], ("scale",), tmp_path / "python")
    with pytest.raises(LandedError, match="were given in Python"):
        landed.studies.rerun(tmp_path / "python", lambda name: model)
