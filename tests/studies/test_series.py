"""A series is the studies of its checkpoints; progress measures against plain interventions and a planted circuit."""

import dataclasses
import gc
import weakref
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax import LandedError
from landed_jax.comparison._baselines import ABLATIONS
from landed_jax.studies import opened_series, progress_measures, series
from landed_jax.studies._checkpoints import Checkpoint
from landed_jax.tasks import Pairs
from landed_jax.vocabulary import NumberedTokens, Vocabulary
from tests.comparison.pairs import planted_pairs, random_pairs
from tests.compiling import compilations
from tests.models import SMALL
from tests.studies.runs import files_of, prompts_of, short_windows, tiny
from tests.vocabularies import byte_level, sentencepiece_like

KEEP = ("attribution", "scale", "sigma_shares")


def trained(step: int) -> landed.Model:
    """The tiny model, later in a training that scales it."""
    model = tiny()
    return dataclasses.replace(model, params=jax.tree.map(lambda leaf: leaf * (1 + step / 10), model.params))


@pytest.mark.quick
def test_a_series_is_the_studies_of_its_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    short_windows(monkeypatch)
    steps, prompts = {"step1": trained(1), "step16": trained(16)}, prompts_of(9)
    alone = [landed.study(model, prompts, KEEP) for model in steps.values()]
    with compilations() as compiled:
        found = series(steps, iter(prompts), KEEP)
    assert not compiled  # the checkpoints share the programs of the first study
    assert found.checkpoints == [1, 16] and "2 checkpoints, step1 to step16" in repr(found)
    table = found.to_xarray()
    assert table["attribution.heads"].dims == ("checkpoint", "prompt", "layer", "head")
    for place, one in enumerate(alone):
        at = table.isel(checkpoint=place)
        assert at["checkpoint"] == [1, 16][place] and at["checkpoint_name"] == list(steps)[place]
        for name, values in one.to_xarray().variables.items():
            np.testing.assert_array_equal(at[name], values)
        for name, rows in one.rows.items():
            np.testing.assert_array_equal(found.rows[name][place], rows)
    assert not np.array_equal(*found.rows["attribution.heads"])
    share = found.rows["sigma_shares.heads"].sum((-2, -1)) + found.rows["sigma_shares.mlp"].sum(-1)
    np.testing.assert_allclose(share + found.rows["sigma_shares.embedding"], 1, atol=1e-3)  # but for ε/σ²


def test_a_killed_series_goes_on_and_repeats_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short_windows(monkeypatch)
    steps, prompts = {name: trained(int(name)) for name in ("1", "2", "4")}, prompts_of(12)
    whole = series(steps, prompts, ("attribution",), tmp_path / "whole")
    seen: list[tuple[str, int]] = []

    def note(name: str, done: int, total: int | None) -> None:
        seen.append((name, done))

    def killed(name: str, done: int, total: int | None) -> None:
        if name == "2" and done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        series(steps, prompts, ("attribution",), tmp_path / "killed", watch=killed)
    series(steps, prompts, ("attribution",), tmp_path / "killed", watch=note)
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "whole")
    assert [done for name, done in seen if name == "1"] == [0]  # opened to be compared, and no batch
    assert [done for name, done in seen if name == "2"][1] > 4  # without the batch that was done
    again = opened_series(tmp_path / "whole")
    assert again.checkpoints == [1, 2, 4] and again.to_xarray().equals(whole.to_xarray())
    steps["1"] = trained(3)  # another model of that name
    with pytest.raises(LandedError, match=r"other settings.*model\.weights"):
        series(steps, prompts, ("attribution",), tmp_path / "whole")
    with pytest.raises(LandedError, match=r"1 and 8 are not of one model: n_layers 2 and 3"):
        series({"8": tiny(dataclasses.replace(SMALL, n_layers=3))}, prompts, ("attribution",), tmp_path / "whole")
    assert not (tmp_path / "whole" / "8").exists()
    landed.study(tiny(), prompts, ("scale",), tmp_path / "whole" / "5")
    with pytest.raises(LandedError, match="studies of other settings, 1 and 5: keep"):
        opened_series(tmp_path / "whole")


def test_a_series_is_of_the_same_prompts_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short_windows(monkeypatch)
    file, place = tmp_path / "prompts.txt", tmp_path / "out"
    text = "".join(" ".join(map(str, ids)) + "\n" for ids in prompts_of(20))
    file.write_text(text)

    def run(*steps: int, out: Path | None = place, **more: Any) -> None:
        series({str(step): trained(step) for step in steps}, file, ("scale",), out, ids=True, **more)

    def killed(name: str, done: int, total: int | None) -> None:
        if done > 12:
            raise KeyboardInterrupt

    run(1)
    with pytest.raises(KeyboardInterrupt):
        run(2, watch=killed)
    with pytest.raises(LandedError, match=r"study of 2 in .* is not finished"):
        opened_series(place)
    run(4)  # beside the unfinished one, whose prompts it shares
    file.write_text(text + "1 2\n")
    with pytest.raises(LandedError, match=r"prompts\.txt does not hold the prompts of the study in .*out.1"):
        run(8)
    assert not (place / "8").exists()
    landed.study(trained(8), file, ("scale",), place / "8", ids=True)
    file.write_text(text)
    landed.study(trained(2), file, ("scale",), place / "2", ids=True)
    with pytest.raises(LandedError, match="different prompts: those of 1 and 8"):
        opened_series(place)
    landed.study(tiny(dataclasses.replace(SMALL, n_layers=3)), [], ("scale",), place / "0")
    with pytest.raises(LandedError, match="0 and 1 are not of one model: n_layers 3 and 2"):
        opened_series(place)

    def edited(name: str, done: int, total: int | None) -> None:
        if name == "2" and not done:
            file.write_text(text + "3\n")

    for out in (None, tmp_path / "new"):
        file.write_text(text)
        with pytest.raises(LandedError, match="changed meanwhile: 2 read others"):
            run(1, 2, out=out, watch=edited)


def test_one_model_is_in_memory_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[weakref.ref[landed.Model]] = []

    def read(checkpoint: Checkpoint) -> landed.Model:
        gc.collect()
        assert not any(model() for model in alive)
        model = trained(checkpoint.step or 0)
        alive.append(weakref.ref(model))
        return model

    monkeypatch.setattr(Checkpoint, "open", read)
    model = tiny()
    series({"1": model, "2": model, "3": model}, [[1, 2]], ("attribution",))
    assert len(alive) == 3


def test_what_is_no_series_is_refused_before_anything_is_computed(tmp_path: Path) -> None:
    model, other = tiny(), tiny(dataclasses.replace(SMALL, n_layers=3))
    wide = tiny(dataclasses.replace(SMALL, vocab_size=14))
    speaking = [
        dataclasses.replace(model, vocabulary=Vocabulary(tokenizer))
        for tokenizer in (byte_level(), sentencepiece_like())
    ]
    landed.study(model, [[1]], ("scale",), tmp_path / "study")
    (tmp_path / "empty").mkdir()
    cases: list[tuple[Any, Any, str]] = [
        ({"a": model, "b": other}, None, "a and b are not of one model: n_layers 2 and 3"),
        ({"a": model, "b": wide}, None, "vocab_size 13 and 14"),
        (dict(zip("ab", speaking, strict=True)), None, "a and b have different vocabularies"),
        ([model, model], None, "Two checkpoints are called 'tiny'"),
        ({"a": model, "../b": model}, None, "'../b' names no checkpoint"),
        ({"a": model, "C:b": model}, None, "'C:b' names no checkpoint"),
        ({"a": model, "..\\b": model}, None, "names no checkpoint"),
        ({"a": model, "b": tmp_path / "b"}, None, "There is no folder"),
        (tmp_path / "empty", None, "holds no checkpoints"),
        (tmp_path / "none", None, "There is no folder .* of checkpoints"),
        ([], None, "at least one checkpoint"),
        ({"a": model}, tmp_path / "study", "holds the study of one model"),
    ]
    for models, out, said in cases:
        with pytest.raises(LandedError, match=said):
            series(models, [[1]], KEEP, out or tmp_path / "out")
    with pytest.raises(LandedError, match="can be read once"):
        series({"a": model}, "-")
    with pytest.raises(LandedError, match="no series of studies"):
        opened_series(tmp_path / "none")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_all_heads_and_none_are_the_model(ablation: Any, x64: None) -> None:
    model, pairs = random_pairs(SMALL, np.float64)
    model = dataclasses.replace(model, vocabulary=NumberedTokens())  # by which means know delimiters
    everything = [(layer, head) for layer in range(2) for head in range(4)]
    whole, nothing = (progress_measures(model, [pairs], heads, ablation=ablation) for heads in (everything, []))
    logits = jnp.asarray(model.trace(pairs.clean, at=-1).logits)[:, 0]
    loss = -jax.nn.log_softmax(logits)[np.arange(2), pairs.right[:, 0]]
    for part in (whole.full, whole.restricted, nothing.full, nothing.excluded):
        np.testing.assert_allclose(part, loss, rtol=1e-12)
    np.testing.assert_allclose(whole.excluded, nothing.restricted, rtol=1e-12)
    assert np.abs(whole.excluded - loss).max() > 1e-3


def test_some_heads_are_what_interventions_make_of_them(x64: None) -> None:
    model, pairs = random_pairs(SMALL, np.float64)
    found = progress_measures(model, [pairs, pairs], [(0, 1), (1, 3)], ablation="zero")
    apart = {True: [(0, 1), (1, 3)], False: [(0, 0), (0, 2), (0, 3), (1, 0), (1, 1), (1, 2)]}
    for ablated, name in ((True, "excluded"), (False, "restricted")):
        zeros = [landed.interventions.zero_head(layer, head) for layer, head in apart[ablated]]
        logits = jnp.asarray(model.trace(pairs.clean, at=-1, interventions=zeros).logits)[:, 0]
        loss = -jax.nn.log_softmax(logits)[np.arange(2), pairs.right[:, 0]]
        np.testing.assert_allclose(getattr(found, name), np.tile(loss, 2), rtol=1e-10)
    low, high = found.interval("excluded")
    assert low <= found.excluded.mean() <= high
    with pytest.raises(LandedError, match=r"no head 2\.0"):
        progress_measures(model, [pairs], [(2, 0)])
    with pytest.raises(LandedError, match="no ablation 'none'"):
        progress_measures(model, [pairs], [], ablation="none")  # pyright: ignore[reportArgumentType] # what is tested


@pytest.mark.parametrize("ablation", ["zero", "resample"])
def test_the_planted_head_is_the_circuit(ablation: Any) -> None:
    """A head that copies a marked token: alone it keeps the loss, without it the loss is that of the others."""
    model, pairs, place = planted_pairs()
    found = progress_measures(model, [pairs], [place], ablation=ablation)
    np.testing.assert_allclose(found.restricted, found.full, atol=0.1)
    assert found.excluded.min() > found.full.max() + 1
    other: Pairs = dataclasses.replace(pairs, right=jnp.flip(pairs.wrong))
    assert progress_measures(model, [other], [place], ablation=ablation).full.min() > found.full.max() + 1
