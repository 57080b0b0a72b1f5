"""Programs cut at their layers: as many programs at any depth, the same numbers, and branches only where taken."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax.nn import pieces
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.layer_programs import by_layers, layer_call, over_layers
from landed_jax.nn.parameters import stack_layers
from landed_jax.nn.rope_config import RopeConfig
from tests.compiling import compilations
from tests.models import BOTH_NORMS, LAYER_NORM, RAW_READS, SMALL, random_params

EVERYTHING = landed.WRITES | landed.RESIDUALS | landed.NORMED | landed.SOURCES


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> set[Any]:
    """The programs that pieces run, as they run."""
    ran: set[Any] = set()
    original = pieces.Pieces.__call__

    def listen(mine: Any, values: Any) -> Any:
        ran.update(step.function for step in mine.steps)
        return original(mine, values)

    monkeypatch.setattr(pieces.Pieces, "__call__", listen)
    return ran


def deep(n_layers: int, config: ModelConfig = SMALL) -> landed.Model:
    # Every second layer, as in Gemma 2.
    windowed = tuple(layer % 2 == 0 for layer in range(n_layers)) if config.sliding_window else ()
    config = dataclasses.replace(
        config, n_layers=n_layers, windowed_layers=windowed, rotary_layers=config.rotary_layers[:1] * n_layers
    )
    return landed.Model(config, random_params(config))


KINDS = {
    "one": SMALL,
    "two": dataclasses.replace(BOTH_NORMS, sliding_window=2, local_rope=RopeConfig(theta=50.0)),
    "raw reads": RAW_READS,
    "layer norm": LAYER_NORM,
}


@pytest.mark.quick
@pytest.mark.parametrize("config", KINDS.values(), ids=KINDS)
def test_as_many_programs_at_any_depth(config: ModelConfig, programs: set[Any]) -> None:
    counts = []
    for n_layers in (2, 5):
        programs.clear()
        trace = deep(n_layers, config).trace(
            [[1, 5, 2]], record=landed.WRITES | landed.RESIDUALS | landed.NORMED | landed.SOURCES
        )
        for analysis in (landed.attribute, landed.closure_error, landed.logit_lens):
            analysis(trace, *([4] if analysis is not landed.closure_error else []))
        counts.append(len(programs))
    assert counts[0] == counts[1] > 4


def test_a_model_in_pieces_gives_what_one_program_gives() -> None:
    model = deep(3)
    tokens = jnp.array([[1, 5, 2]])
    whole_logits, whole = jax.jit(lambda p, t: landed.forward(p, t, model.config))(model.params, tokens)
    pieces = model.trace(tokens)
    np.testing.assert_allclose(pieces.logits, whole_logits, rtol=1e-5, atol=1e-6)
    assert set(pieces.sown) == set(whole.sown)
    for name, value in whole.sown.items():
        np.testing.assert_allclose(pieces.sown[name], value, rtol=1e-5, atol=1e-5, err_msg=name)


def test_calls_conditions_and_constants() -> None:
    table, taken = jnp.arange(3.0), []

    def branch(name: str, step: Any) -> Any:
        def run(x: jax.Array) -> tuple[jax.Array, jax.Array]:
            taken.append(name)
            return functools.reduce(lambda x, w: step(jnp.float32(w), x), (1, 2), x), x

        return run

    @jax.jit
    def inner(weights: list[jax.Array], x: jax.Array) -> jax.Array:
        step = layer_call(lambda weight, x: weight * x + table)
        return functools.reduce(lambda x, weight: step(weight, x), weights, x)

    def whole(weights: list[jax.Array], x: jax.Array, *, add: float) -> dict[str, Any]:
        step = layer_call(lambda weight, x: x - weight)
        once, twice = inner(weights, x), inner(weights, inner(weights, x))
        found, same = jax.lax.cond(once.sum() > 0, branch("yes", step), branch("no", lambda w, x: x), x)
        return {"twice": twice + add, "found": found, "same": same, "given": x, "literal": 2.0}

    weights, x = [jnp.array(2.0), jnp.array(-3.0)], jnp.array([1.0, 2.0, -1.0])
    cut = by_layers(whole, static=("add",))
    for given in (x, -x):
        expected = jax.jit(whole, static_argnames="add")(weights, given, add=1.0)
        jax.tree.map(np.testing.assert_array_equal, cut(weights, given, add=1.0), expected)
    assert set(taken) == {"yes", "no"}  # traced for both; compiled as they are taken

    def slope_of(function: Any) -> jax.Array:
        return jax.grad(lambda x: jnp.sum(function(weights, x, add=1.0)["twice"]))(x)

    np.testing.assert_array_equal(slope_of(cut), slope_of(jax.jit(whole, static_argnames="add")))


@pytest.mark.parametrize("in_turn", [False, True])
def test_over_layers_in_both_layouts(in_turn: bool) -> None:
    params = random_params(SMALL)
    stack = jnp.arange(2.0)

    def run(params: Any) -> Any:
        def layer(part: Any, number: jax.Array) -> dict[str, jax.Array]:
            return {"sum": part["mlp"]["W_down"].sum() * number, "whole": jnp.int32(number)}

        return over_layers(layer, params["layers"], stack, in_turn=in_turn)

    expected = [params["layers"][str(i)]["mlp"]["W_down"].sum() * i for i in range(2)]
    for found in (run(params), jax.jit(run)(params), by_layers(run)(params), run(stack_layers(params))):
        np.testing.assert_allclose(found["sum"], expected, rtol=1e-5)
        assert found["whole"].tolist() == [0, 1]


TRANSFORMS: dict[str, Any] = {
    "jit": jax.jit,
    "grad": jax.grad,
    "jit of grad": lambda f: jax.jit(jax.grad(f)),
    "jvp": lambda f: lambda scale: jax.jvp(f, (scale,), (1.0,)),
    "vmap": lambda f: lambda scale: jax.vmap(f)(jnp.stack([scale, 2 * scale])),
}


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_edits_and_observers_may_hold_numbers_of_a_transform(transform: str) -> None:
    model, tokens = deep(2), landed.Tokens.from_lists([[1, 5, 2]])

    def run(trace: Any, scale: jax.Array) -> jax.Array:
        edits = {landed.HookPoint.HEAD: lambda z, layer: z * scale}
        found = trace(edits=edits, observers={"seen": lambda writes: writes.a.sum() * scale})
        return found.logits[0, -1, 3] + found.observed["seen"].sum()

    def pure(**how: Any) -> landed.Trace:
        logits, trace = landed.forward(model.params, tokens, model.config, **how)
        return dataclasses.replace(trace, logits=logits)

    apply = TRANSFORMS[transform]
    found = apply(lambda scale: run(functools.partial(model.trace, tokens), scale))(jnp.float32(0.7))
    expected = apply(lambda scale: run(pure, scale))(jnp.float32(0.7))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), found, expected)


@pytest.mark.parametrize("point", [landed.HookPoint.EMBEDDING, landed.HookPoint.HEAD, landed.HookPoint.FINAL_RESIDUAL])
def test_effects_of_an_edit_happen(point: landed.HookPoint, capfd: pytest.CaptureFixture[str]) -> None:
    def edit(value: jax.Array, layer: Any) -> jax.Array:
        jax.debug.print("seen")
        return value

    deep(2).trace([[1, 5, 2]], edits={point: edit}).logits.block_until_ready()
    jax.effects_barrier()
    assert capfd.readouterr().out.count("seen") == (2 if point is landed.HookPoint.HEAD else 1)


def test_a_model_outside_of_jit_compiles_once() -> None:
    model, ids = deep(2), jnp.array([[1, 5, 2]])
    landed.forward(model.params, ids, model.config)
    with compilations() as compiled:
        landed.forward(model.params, ids, model.config)
    assert compiled == []


def test_results_are_arrays_of_jax() -> None:
    step = layer_call(lambda x: x * 2)
    found = by_layers(lambda x, given: {"x": step(x), "given": given, "literal": 2.0})(jnp.ones(2), np.arange(3))
    assert {name: (type(value).__name__, str(value.dtype)) for name, value in found.items()} == {
        "x": ("ArrayImpl", "float32"),
        "given": ("ArrayImpl", "int32"),
        "literal": ("ArrayImpl", "float32"),
    }
