"""Attribution against brute force in float64, and as a function that JAX's transforms compose with."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax import RESIDUALS, SOURCES, WRITES, LandedError
from landed_jax.analysis.attribution import Attribution
from landed_jax.analysis.attribution._effects import mediated_effect
from landed_jax.analysis.attribution._table import WriteRow, WriteTable, source_cell
from landed_jax.nn.parameters import stack_layers
from tests.compiling import compilations
from tests.models import CONFIGS, FEW, NAMES, SMALL, random_params, random_tokens
from tests.reference.landed import every_write, landed_contributions, removed_effects, shares_of_sigma
from tests.reference.numpy_model import numpy_forward
from tests.traces import asked_by, column, real_positions, run, traced, unembedding


@pytest.mark.quick
@pytest.mark.parametrize(
    ("name", "read"),
    [
        pytest.param(name, read, marks=() if name in FEW or read == "difference" else pytest.mark.slow)
        for read in ("difference", "top", "token", "each", "centred", "direction")
        for name in CONFIGS
    ],
)
def test_every_write_equals_brute_force(name: str, read: str, x64: None) -> None:
    config = CONFIGS[name]
    trace = traced(config, params=random_params(config, dtype=jnp.float64))
    numbers = numpy_forward(trace.params, trace.tokens.ids, trace.tokens.mask, config)
    W_U = unembedding(trace.params, config)
    top = numbers["logits"].argmax(-1)
    own = np.random.default_rng(1).integers(0, config.vocab_size, top.shape)
    mine = np.random.default_rng(2).standard_normal(config.d_model)
    arguments, directions = {
        "top": ({}, W_U[top]),
        "token": ({"target": 1}, np.broadcast_to(W_U[1], (*top.shape, config.d_model))),
        "each": ({"target": jnp.asarray(own)}, W_U[own]),
        "difference": ({"target": jnp.array([1, 2]), "against": 0}, (W_U[[1, 2]] - W_U[0])[:, None] + 0 * W_U[top]),
        "centred": ({"target": 1, "centred": True}, W_U[1] - W_U.mean(0) + 0 * W_U[top]),
        "direction": (
            {"read": landed.resolve(trace, landed.Vector(jnp.asarray(mine), site="final"))},
            mine + 0 * W_U[top],
        ),
    }[read]
    shares = landed.attribute(trace, asked_by(**arguments))
    for b, p in real_positions(trace):
        written, u = every_write(numbers, config, b, p), directions[b, p]
        expected = landed_contributions(written, numbers, u, config, b, p)
        np.testing.assert_allclose(column(shares.landed, b, p), expected, atol=1e-12)
        effects = removed_effects(written, numbers, u, config, b, p)
        np.testing.assert_allclose(column(shares.direct_effect, b, p), effects, atol=1e-11)
        np.testing.assert_allclose(
            column(shares.sigma_share, b, p), shares_of_sigma(written, numbers, config, b, p), atol=1e-13
        )
        offset = numbers["beta"][-1] @ u
        np.testing.assert_allclose(shares.value[b, p], expected.sum() + offset, atol=1e-11)
        assert shares.closure_error[b, p] < 1e-11


@pytest.mark.parametrize("size", [1.0, 1e4, 1e6])
def test_the_effect_of_the_whole_stream_is_finite_in_float32(size: float) -> None:
    # ε/σ² is below what float32 can tell from 0, yet without the write σ′² is ε and the value 0.
    d_model, x = 8, jnp.full(8, size)
    product, sigma = jnp.sum(x * x), jnp.sqrt(jnp.mean(x * x) + 1e-6)
    whole = 3.0 + mediated_effect(jnp.array(3.0), jnp.array(3.0), product, product, sigma, d_model, 1e-6)
    np.testing.assert_allclose(whole, 3.0, rtol=1e-5)


@pytest.mark.quick
@pytest.mark.parametrize("name", FEW)
def test_closes_in_float32(name: str) -> None:
    shares = landed.attribute(traced(CONFIGS[name]))
    assert float(shares.closure_error.max()) < 1e-5
    np.testing.assert_allclose(shares.total, shares.value, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_sigma_shares_sum_to_one_less_epsilon(name: str, x64: None) -> None:
    config = CONFIGS[name]
    trace = traced(config, params=random_params(config, dtype=jnp.float64))
    share = landed.attribute(trace).sigma_share
    assert share is not None
    np.testing.assert_allclose(share.total(), 1 - config.norm_eps / np.square(trace.sigma[-1]), atol=1e-13)


def test_a_write_that_is_the_whole_stream(x64: None) -> None:
    # Every output matrix is 0, so the embedding is the stream: without it nothing is left, and the logit is 0.
    params = random_params(SMALL, dtype=jnp.float64)
    silent = {"W_O", "W_down"}
    params = jax.tree_util.tree_map_with_path(lambda at, v: v * 0 if at[-1].key in silent else v, params)
    shares = landed.attribute(traced(SMALL, params=params), 1)
    assert shares.direct_effect is not None
    np.testing.assert_allclose(shares.direct_effect.embedding, shares.value, atol=1e-12)
    assert float(jnp.abs(shares.direct_effect.heads).max()) == 0.0


def close(a: Attribution, b: Attribution, atol: float) -> None:
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, atol=atol, rtol=1e-5)


@pytest.mark.parametrize("name", FEW)
def test_stacked_parameters_give_the_same(name: str) -> None:
    config, record = CONFIGS[name], WRITES | SOURCES
    params = random_params(config)
    alone = landed.attribute(traced(config, record, params))
    close(landed.attribute(traced(config, record, stack_layers(params))), alone, atol=2e-5)


def test_jit_and_vmap_over_targets() -> None:
    trace = traced(SMALL)
    ids = jnp.arange(5)
    many = jax.jit(jax.vmap(lambda t: landed.attribute(trace, t, against=7)))(ids)
    for i in ids:
        close(jax.tree.map(lambda leaf, i=i: leaf[i], many), landed.attribute(trace, i, against=7), atol=2e-6)


def test_attribution_is_a_function_of_a_trace_argument() -> None:
    trace = traced(SMALL)
    close(jax.jit(partial(landed.attribute, question=3))(trace), landed.attribute(trace, 3), atol=1e-6)


@pytest.mark.parametrize("name", FEW)
def test_padded_batch_equals_each_prompt_alone(name: str) -> None:
    config = CONFIGS[name]
    params, tokens = random_params(config), random_tokens(config)
    whole = landed.attribute(traced(config, params=params), 1)
    for row in range(2):
        prompt = tokens.ids[row][tokens.mask[row]]
        _, trace = run(params, prompt[None], config, record=WRITES)
        alone = landed.attribute(trace.bind(params), 1)
        for part in ("landed", "direct_effect", "sigma_share"):
            for p in range(len(prompt)):
                padded = column(getattr(whole, part), row, p + tokens.ids.shape[1] - len(prompt))
                np.testing.assert_allclose(padded, column(getattr(alone, part), 0, p), atol=2e-5)


def test_one_position_equals_all_of_them() -> None:
    whole = landed.attribute(traced(SMALL, WRITES | SOURCES), 1)
    for trace in (
        traced(SMALL, WRITES | SOURCES, at=jnp.array([3])),
        traced(SMALL, WRITES | SOURCES).select(3),
        traced(SMALL, WRITES | SOURCES).select(-2),
    ):
        one = landed.attribute(trace, 1)
        np.testing.assert_allclose(column(one.landed, 1, 0), column(whole.landed, 1, 3), atol=1e-5)
        np.testing.assert_allclose(one.value[:, 0], whole.value[:, 3], atol=1e-5)
        assert one.top(3, position=3, batch=1)[0].landed == pytest.approx(whole.top(3, position=3, batch=1)[0].landed)


def test_bfloat16_weights_are_cast_not_altered() -> None:
    narrow = random_params(SMALL, dtype=jnp.bfloat16)
    wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), narrow)
    close(landed.attribute(traced(SMALL, params=narrow)), landed.attribute(traced(SMALL, params=wide)), atol=1e-6)


def test_top_is_every_write_in_order() -> None:
    trace = traced(SMALL, WRITES | SOURCES)
    shares = landed.attribute(trace, 1)
    rows = shares.top(10_000, position=-1, batch=1)
    assert len(rows) == 1 + SMALL.n_layers * (SMALL.n_heads + SMALL.d_ff)
    sizes = [abs(row.landed) for row in rows]
    assert sizes == sorted(sizes, reverse=True)
    part, effect = shares.landed, shares.direct_effect
    assert effect is not None
    split = landed.attribute_by_source(trace, 1).landed
    for row in rows:
        if row.kind == "embedding":
            assert row.landed == float(part.embedding[1, 4])
            continue
        kind = "heads" if row.kind == "head" else "neurons"
        assert row.landed == float(getattr(part, kind)[row.layer, 1, 4, row.index])
        assert row.direct_effect == float(getattr(effect, kind)[row.layer, 1, 4, row.index])
        if row.kind == "head":
            parts = split[row.layer, 1, 4, row.index]
            assert row.attended == int(jnp.abs(parts).argmax())
            assert row.attended_landed == pytest.approx(float(parts[row.attended]), abs=1e-6)
            sign = str(source_cell(row))[0]  # there is no vocabulary
            assert sign in ("@" if row.attended_landed * row.landed > 0 else "-" if row.landed > 0 else "+")
    assert shares.top(0) == [] or len(shares.top(0)) == 0
    assert "direct effect" in repr(shares.top(3))


def test_a_table_shows_the_sign_of_a_source_that_opposes_its_head(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = {"attended": 3, "attended_text": " [red]\0 and a long token", "direct_effect": 0.5, "sigma_share": 0.25}
    for landed_, part, sign in ((1.25, 2.0, ""), (-1.25, -2.0, ""), (1.25, -2.0, "-"), (-1.25, 2.0, "+")):
        row = WriteRow("head", 11, 10, landed=landed_, attended_landed=part, **numbers)
        for columns in (40, 60, 200):
            monkeypatch.setenv("COLUMNS", str(columns))
            shown = repr(WriteTable([row]))
            assert f"\n11.head.10  {sign}' [r" in shown and f"{landed_:+.4f}  +0.5000" in shown
            assert ("' [red]\\x00 and a long token'@3" in shown) == (columns > 60)
            assert max(map(len, shown.splitlines())) <= columns
        assert f"{sign}&#x27; [red]\\x00 and a long token&#x27;@3" in WriteTable([row])._repr_html_()


def test_heads_after_the_read_attended_to_nothing_it_hears() -> None:
    trace = traced(SMALL, WRITES | SOURCES | RESIDUALS)
    shares = landed.attribute(trace, landed.Neuron(0, 3, "gate"))
    assert (shares.attended[0] >= 0).all() and (shares.attended[1] == -1).all()
    assert {row.attended is None for row in shares.top(100) if row.kind == "head" and row.layer == 1} == {True}


def test_two_neurons_of_a_layer_share_a_program() -> None:
    trace = traced(SMALL, WRITES | SOURCES | RESIDUALS)
    first = landed.attribute(trace, landed.Neuron(0, 3, "gate"))
    with compilations() as compiled:
        second = landed.attribute(trace, landed.Neuron(0, 4, "up"))
    assert not any("layer" in program for program in compiled)  # of those that the attribution is made of
    assert not np.array_equal(first.value, second.value)


def test_top_amplification_is_the_next_landings_median() -> None:
    trace = traced(SMALL)
    for row in landed.attribute(trace, 1).top(50, batch=0):
        site = 0 if row.layer is None else 2 * row.layer + (1 if row.kind == "head" else 2)
        expected = np.median(np.abs(trace.gamma[site]) / trace.sigma[site, 0, 4])
        assert row.amplification == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": 13}, "out of range"),
        ({"target": -1}, "out of range"),
        ({"target": " Rome"}, "no tokenizer"),
        ({"target": jnp.array([1, 2, 3])}, "fit neither"),
        ({"target": 1, "against": 2, "centred": True}, "centred already"),
    ],
)
def test_bad_arguments_say_so(arguments: dict, message: str) -> None:
    with pytest.raises(LandedError, match=message):
        landed.attribute(traced(SMALL), asked_by(**arguments))


def test_against_goes_with_a_bare_token() -> None:
    with pytest.raises(LandedError, match="bare token"):
        landed.attribute(traced(SMALL), landed.Logit(1), against=2)


@pytest.mark.parametrize("vector", [jnp.ones(11), jnp.ones((3, 1, 12)), jnp.ones((1, 1, 1, 12))])
def test_a_vector_of_another_shape_is_refused(vector: jax.Array) -> None:
    with pytest.raises(LandedError, match="shape"):
        landed.resolve(traced(SMALL), landed.Vector(vector, site="final"))


def test_bad_traces_say_so() -> None:
    _, trace = run(random_params(SMALL), random_tokens(SMALL), SMALL, record=WRITES)
    with pytest.raises(LandedError, match="bind"):
        landed.attribute(trace, 1)
    with pytest.raises(LandedError, match=r"did not record neuron: add WRITES \(or HookPoint.NEURON\) to record="):
        landed.attribute(traced(SMALL, WRITES - {landed.HookPoint.NEURON}), 1)
    shares = landed.attribute(traced(SMALL), 1)
    with pytest.raises(LandedError, match="padding"):
        shares.top(3, batch=1, position=0)
    with pytest.raises(LandedError, match="no prompt 2"):
        shares.top(3, batch=2)
    with pytest.raises(LandedError, match="not recorded"):
        landed.attribute(traced(SMALL, at=jnp.array([3])), 1).top(3, position=0)


def test_top_reads_the_last_real_token_of_a_prompt_padded_on_the_right() -> None:
    params = random_params(SMALL)
    ids, mask = jnp.array([[1, 5, 2], [3, 8, 0]]), jnp.array([[True] * 3, [True, True, False]])
    _, trace = run(params, landed.Tokens(ids, mask), SMALL, record=WRITES)
    shares = landed.attribute(trace.bind(params), 1)
    assert [row.position for row in shares.top(2, batch=1)] == [1, 1]
    assert [row.position for row in shares.top(2, batch=0)] == [2, 2]
