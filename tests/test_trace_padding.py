"""Prompts of about one length share compiled programs, and nothing that the user sees shows how."""

import dataclasses
import logging
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import landed_jax as landed
from landed_jax import NORMED, RESIDUALS, SOURCES, WRITES, HookPoint, LandedError, Model, Tokens
from landed_jax.vocabulary import Vocabulary
from tests import vocabularies
from tests.models import CONFIGS, random_params

EVERYTHING = WRITES | RESIDUALS | NORMED | SOURCES | {HookPoint.KEY, HookPoint.QUERY, HookPoint.ATTN_WRITE}
BUCKETED = {name: each for name, each in landed.analyses().items() if each.bucketed}
PROMPTS = {"one": [[1, 5, 2, 7, 3]], "of unequal lengths": [[1, 5, 2, 7, 3], [4, 4, 9]]}


def model_of(name: str) -> Model:
    return Model(CONFIGS[name], random_params(CONFIGS[name]), Vocabulary(vocabularies.words()), name)


def same(mine: Any, theirs: Any) -> None:
    assert jax.tree.structure(mine) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(mine), jax.tree.leaves(theirs), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize(
    ("name", "prompts", "at"),
    [
        ("biased", "of unequal lengths", None),
        ("biased", "one", [4, 0]),
        # A window, and rotary frequencies that depend on the prompt's own length.
        ("windowed", "of unequal lengths", -1),
        ("windowed", "one", None),
        ("experts", "of unequal lengths", None),
    ],
)
@pytest.mark.filterwarnings("ignore::landed_jax.prompts.PromptWarning")
def test_a_trace_of_lists_is_that_of_their_tokens(name: str, prompts: str, at: Any) -> None:
    model, lists = model_of(name), PROMPTS[prompts]
    mine = model.trace(lists, record=EVERYTHING, at=at)
    theirs = model.trace(Tokens.from_lists(lists), record=EVERYTHING, at=at)
    assert mine.bucketed and not theirs.bucketed
    real = np.asarray(theirs.real)
    for site in map(HookPoint, sorted(theirs.sown)):
        a, b = np.asarray(mine[site]), np.asarray(theirs[site])
        assert a.shape == b.shape
        if "position" in mine.axes(site):  # rows of padding are nobody's numbers
            axes = [mine.axes(site).index(axis) for axis in ("batch", "position")]
            a, b = (np.moveaxis(value, axes, (0, 1))[real] for value in (a, b))
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5)
    same(mine.provenance, theirs.provenance)
    np.testing.assert_allclose(mine.logits[real], theirs.logits[real], rtol=1e-4, atol=2e-5)
    assert repr(mine) == repr(theirs)


@pytest.mark.parametrize(
    ("name", "at"), [*((name, None) for name in BUCKETED), ("attribute", [2, -1]), ("token_contributions", [2, -1])]
)
def test_results_show_no_padding(name: str, at: Any) -> None:
    model, analysis = model_of("biased"), BUCKETED[name]
    lists, question = PROMPTS["one"], (landed.Logit(4, against=2),) if analysis.asks else ()
    mine, theirs = (
        analysis.function(model.trace(prompts, record=EVERYTHING, at=at), *question, **analysis.example(None))
        for prompts in (lists, Tokens.from_lists(lists))
    )
    same(mine, theirs)
    labelled = mine.to_xarray()
    xr.testing.assert_allclose(labelled, theirs.to_xarray(), rtol=1e-4, atol=2e-5)
    if "position" in labelled:  # copying has sources alone
        assert labelled["position"].values.tolist() == ([2, 4] if at else [0, 1, 2, 3, 4])
    assert labelled["source_token_id"].values.tolist() == lists
    again = mine.to_xarray(derived=True)
    xr.testing.assert_allclose(again, theirs.to_xarray(derived=True), rtol=1e-4, atol=2e-5)


def test_rows_columns_and_questions_are_the_prompts_own() -> None:
    model = model_of("biased")
    mine, theirs = (
        model.trace(prompts, record=EVERYTHING) for prompts in (PROMPTS["one"], Tokens.from_lists(PROMPTS["one"]))
    )
    for position in (None, 0, 2, -2):
        rows = [landed.attribute(trace, 4).top(9, position=position) for trace in (mine, theirs)]
        for a, b in zip(*rows, strict=True):
            assert (a.kind, a.layer, a.index, a.position, a.attended, a.attended_text) == (
                (b.kind, b.layer, b.index, b.position, b.attended, b.attended_text)
            )
        np.testing.assert_allclose(
            *(landed.land(trace, rows[1], site="final") for trace in (mine, theirs)), rtol=1e-4, atol=2e-5
        )
    same(landed.attribute(mine.select(1), 4), landed.attribute(theirs.select(1), 4))
    with pytest.raises(LandedError, match="from 0 to 4"):
        mine.select(5)
    with pytest.raises(LandedError, match="5 columns"):
        model.trace(PROMPTS["one"], at=5)
    vector = np.linspace(-1, 1, 10).astype(np.float32)
    for question in (
        landed.resolve(theirs, 4),
        landed.Logit(jnp.array([[1, 2, 3, 4, 5]])),
        landed.Logit(jnp.array([3])),
        landed.Vector(np.tile(vector, (1, 5, 1)), site="1.attn"),
        landed.Vector(vector, site="1.mlp"),
        landed.Neuron(1, 3, "gate"),
        landed.Head(1, 1, "key", vector[:6]),
    ):
        same(landed.attribute(mine, question), landed.attribute(theirs, question))
    others = jnp.array([[1, 2, 3, 5, 6]])
    same(landed.attribute(mine, 4, against=others), landed.attribute(theirs, 4, against=others))


def test_transformations_of_a_trace_work() -> None:
    model = model_of("biased")
    mine, theirs = (model.trace(prompts) for prompts in (PROMPTS["one"], Tokens.from_lists(PROMPTS["one"])))
    same(*(jax.jit(lambda t: landed.attribute(t, 4).landed.heads)(trace) for trace in (mine, theirs)))
    many = [jax.vmap(lambda token, t=t: landed.attribute(t, token))(jnp.arange(3)) for t in (mine, theirs)]
    same(*(dataclasses.replace(found, provenance=None) for found in many))


def test_a_second_length_compiles_nothing(caplog: pytest.LogCaptureFixture) -> None:
    model = model_of("small")

    def ask(prompt: list[int], at: Any) -> None:
        trace = model.trace(prompt, record=WRITES | RESIDUALS, at=at)
        landed.attribute(trace, 3)
        landed.coordinates(trace, landed.Logit(3, against=4))
        landed.logit_lens(trace, 3)

    with jax.log_compiles(), caplog.at_level(logging.WARNING, logger="jax"):
        for at in (None, -1):
            ask([1, 2, 3], at)
            caplog.clear()
            for length in (1, 2, 9, 16):
                ask([5] * length, at)
            assert [record.message for record in caplog.records if "Compiling" in record.message] == []


def test_edits_and_observers_see_the_prompts_own_columns() -> None:
    model, lists = model_of("small"), PROMPTS["one"]
    seen = []

    def edit(value: jax.Array, layer: Any) -> jax.Array:
        seen.append(value.shape)
        return value.at[:, 1].set(0)

    mine, theirs = (
        model.trace(prompts, edits={HookPoint.NEURON: edit}, observers={"columns": lambda writes: writes.at})
        for prompts in (lists, Tokens.from_lists(lists))
    )
    assert {shape[:2] for shape in seen} == {(1, 5)} and not mine.bucketed
    np.testing.assert_array_equal(mine.observed["columns"][0], np.arange(5))
    np.testing.assert_array_equal(mine.logits, theirs.logits)


def test_a_large_trace_is_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("landed_jax.model._LARGE", 1 << 10)
    assert not model_of("small").trace(PROMPTS["one"]).bucketed
