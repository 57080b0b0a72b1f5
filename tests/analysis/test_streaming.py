"""Attribution inside the layer loop: both ways give what `attribute` gives, and a reduction gives NumPy's answer."""

import dataclasses
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax import HookPoint, LandedError, Model
from landed_jax.analysis.reduce import Reduction
from landed_jax.memory.estimates import trace_bytes
from landed_jax.nn.parameters import stack_layers
from landed_jax.nn.per_write import PerWrite
from tests.models import BIASED, CONFIGS, SMALL, random_params, random_tokens
from tests.traces import asked_by

ARGUMENTS = {
    "top": {},
    "difference": {"target": 1, "against": 2},
    "one a prompt": {"target": jnp.array([1, 3])},
    "centred": {"target": 1, "centred": True},
}
ALL = landed.reduce.everything()


@cache
def model(name: str, dtype: str = "float32", stacked: bool = False) -> Model:
    params = random_params(CONFIGS[name], dtype=jnp.dtype(dtype))
    return Model(CONFIGS[name], stack_layers(params) if stacked else params)


def numbers(part: PerWrite) -> list[np.ndarray]:
    return [np.asarray(getattr(part, kind)) for kind in ("heads", "neurons", "attn_bias", "mlp_bias")]


@pytest.mark.quick
@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize(
    ("name", "stacked", "asked"),
    [
        *(("small", False, asked) for asked in ARGUMENTS),
        *(("biased", True, "top"), ("windowed", False, "difference"), ("both_norms", False, "top")),
        *(("layer_norm", False, "one a prompt"), ("layer_norm", True, "centred"), ("parallel", False, "top")),
    ],
)
def test_both_ways_give_what_attribute_gives(name: str, stacked: bool, asked: str, passes: int, x64: None) -> None:
    whole, tokens = model(name, "float64", stacked), random_tokens(CONFIGS[name])
    found = whole.attribute_streaming(tokens, ALL, asked_by(**ARGUMENTS[asked]), effects=True, passes=passes)
    expected = landed.attribute(whole.trace(tokens), asked_by(**ARGUMENTS[asked]))
    assert found.passes == passes and expected.direct_effect is not None and expected.sigma_share is not None
    for part in ("landed", "direct_effect", "sigma_share"):
        for x, y in zip(numbers(getattr(found.reduced, part)), numbers(getattr(expected, part)), strict=True):
            np.testing.assert_allclose(x, y, atol=1e-12)
    for field in expected.landed.embeddings:
        for end, part in (("", "landed"), ("_effect", "direct_effect"), ("_share", "sigma_share")):
            whole = getattr(getattr(expected, part), field)
            np.testing.assert_allclose(getattr(found, f"{field}{end}"), whole, atol=1e-12)
    np.testing.assert_allclose(found.offset, expected.offset, atol=1e-12)
    np.testing.assert_allclose(found.value, expected.value, atol=1e-12)
    np.testing.assert_array_equal(found.target, expected.target)
    assert float(found.closure_error.max()) < 1e-11


@pytest.mark.parametrize("passes", [1, 2])
def test_chosen_positions_edits_and_weights_in_bfloat16(passes: int) -> None:
    params = random_params(BIASED, dtype=jnp.bfloat16)
    narrow, tokens = Model(BIASED, params), random_tokens(BIASED)
    edits = {HookPoint.NEURON: _halve}
    found = narrow.attribute_streaming(tokens, ALL, 2, at=[-1, 2], edits=edits, passes=passes)
    expected = landed.attribute(narrow.trace(tokens, at=[-1, 2], edits=edits), 2)
    for x, y in zip(numbers(found.reduced.landed), numbers(expected.landed), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-6)
    assert found.at.tolist() == [4, 2] and float(found.closure_error.max()) < 1e-5


def _halve(value: jax.Array, layer: jax.Array | None) -> jax.Array:
    return value / 2


@pytest.mark.parametrize("passes", [1, 2])
def test_a_write_that_is_nearly_the_stream_keeps_its_digits(passes: int) -> None:
    params = random_params(SMALL)
    first = params["layers"]["0"]["mlp"]
    first["W_down"] = first["W_down"].at[:, 3].multiply(1e3)
    loud, tokens = Model(SMALL, params), jnp.array([[1, 5, 7]])
    found = loud.attribute_streaming(tokens, ALL, 1, effects=True, passes=passes).reduced
    expected = landed.attribute(loud.trace(tokens), 1)
    np.testing.assert_allclose(found.direct_effect.neurons, expected.direct_effect.neurons, rtol=1e-4, atol=1e-5)
    assert np.abs(expected.sigma_share.neurons[0, :, :, 3]).max() > 0.99


def ranked(whole: landed.attribution.Attribution, mask: np.ndarray, n: int) -> list[tuple]:
    """NumPy's n largest of everything at real tokens: (landed, is_neuron, layer, index, batch, position)."""
    rows = []
    for is_neuron, part in ((False, whole.landed.heads), (True, whole.landed.neurons)):
        for (layer, b, p, i), value in np.ndenumerate(np.asarray(part)):
            if mask[b, p]:
                rows.append((float(value), is_neuron, layer, i, b, p))
    return sorted(rows, key=lambda row: -abs(row[0]))[:n]


@pytest.mark.parametrize("n", [1, 7, 10_000])
def test_top_writes_are_the_largest_of_all(n: int) -> None:
    whole, tokens = model("small"), random_tokens(SMALL)
    shares = landed.attribute(whole.trace(tokens), 1)
    expected = ranked(shares, np.asarray(tokens.mask), n)
    for passes in (1, 2):
        top = whole.attribute_streaming(tokens, landed.reduce.top_writes(n), 1, effects=True, passes=passes).reduced
        assert top.landed.size == min(n, 2 * 2 * 5 * 14)
        rows = list(zip(*(leaf.tolist() for leaf in _names(top)), strict=True))[: len(expected)]
        values = {row[1:]: row[0] for row in ranked(shares, np.asarray(tokens.mask), 10_000)}
        assert len({row[1:] for row in rows}) == len(rows)
        np.testing.assert_allclose([values[row[1:]] for row in rows], [row[0] for row in rows], rtol=1e-5, atol=1e-6)
        sizes = [[abs(row[0]) for row in table] for table in (rows, expected)]
        np.testing.assert_allclose(*sizes, rtol=1e-5, atol=1e-6)  # equal sizes stand in either order
        assert top.there.tolist() == [rank < len(expected) for rank in range(top.landed.size)]  # no padding first
        assert not np.any(top.landed[len(expected) :])
        for rank in range(min(n, 7)):
            _, is_neuron, *place = rows[rank]
            layer, index, b, p = place
            kind = "neurons" if is_neuron else "heads"
            for mine, theirs in ((top.direct_effect, shares.direct_effect), (top.sigma_share, shares.sigma_share)):
                assert mine[rank] == pytest.approx(float(getattr(theirs, kind)[layer, b, p, index]), abs=1e-5)


def _names(top: landed.reduce.TopWrites) -> list[jax.Array]:
    return [top.landed, top.is_neuron, top.layer, top.index, top.batch, top.position]


def test_top_per_position_is_each_positions_own() -> None:
    whole, tokens = model("small"), random_tokens(SMALL)
    shares = landed.attribute(whole.trace(tokens), 1)
    top = whole.attribute_streaming(tokens, landed.reduce.top_per_position(6), 1, passes=2).reduced
    for b, p in np.argwhere(np.asarray(tokens.mask)):
        alone = np.zeros_like(tokens.mask)
        alone[b, p] = True
        rows = list(zip(*(leaf[b, p].tolist() for leaf in _names(top)), strict=True))
        assert [row[1:] for row in rows] == [row[1:] for row in ranked(shares, alone, 6)]
    assert not np.any(top.landed[~np.asarray(tokens.mask)])
    np.testing.assert_array_equal(top.there, np.broadcast_to(tokens.mask[..., None], top.there.shape))


def test_sums_and_histograms_are_numpys() -> None:
    whole, tokens = model("biased"), random_tokens(BIASED)
    shares = landed.attribute(whole.trace(tokens), 1)
    sums = whole.attribute_streaming(tokens, landed.reduce.layer_sums(), 1, passes=2).reduced
    np.testing.assert_allclose(sums.heads, shares.landed.heads, atol=1e-6)
    np.testing.assert_allclose(sums.mlp_net, shares.landed.neurons.sum(-1), atol=1e-6)
    np.testing.assert_allclose(sums.mlp_gross, np.abs(shares.landed.neurons).sum(-1), atol=1e-6)
    edges = (-0.1, 0.0, 0.05)
    counted = whole.attribute_streaming(tokens, landed.reduce.histogram(edges), 1, passes=2).reduced
    for kind in ("heads", "neurons"):
        values = np.asarray(getattr(shares.landed, kind))[:, np.asarray(tokens.mask)]
        for layer in range(BIASED.n_layers):
            expected, _ = np.histogram(values[layer], [-np.inf, *edges, np.inf])
            assert getattr(counted, kind)[layer].tolist() == expected.tolist()


def test_one_token_and_unequal_lengths() -> None:
    whole = model("small")
    for passes in (1, 2):
        both = whole.attribute_streaming([[1, 5, 7], [3]], landed.reduce.top_per_position(3), 4, passes=passes)
        alone = whole.attribute_streaming([[3]], landed.reduce.top_per_position(3), 4, passes=passes)
        for x, y in zip(_names(both.reduced)[:4], _names(alone.reduced)[:4], strict=True):
            np.testing.assert_allclose(x[1, -1], y[0, 0], atol=1e-6)


@pytest.mark.parametrize("passes", [1, 2])
def test_under_jit_vmap_over_targets_and_grad(passes: int, x64: None) -> None:
    params, ids = random_params(SMALL, dtype=jnp.float64), jnp.array([[1, 5, 7]])

    def value(params: dict, target: jax.Array) -> jax.Array:
        found = landed.attribute_streaming(
            params, ids, SMALL, landed.reduce.layer_sums(), target, effects=True, dtype="float64", passes=passes
        )
        return found.reduced.heads[0, 0, -1, 1] + found.mlp[1, 0, -1]

    targets = jnp.arange(4)
    many = jax.jit(jax.vmap(value, in_axes=(None, 0)))(params, targets)
    one = jax.jit(value)
    np.testing.assert_allclose(many, [one(params, target) for target in targets], atol=1e-12)
    np.testing.assert_allclose(many[0], value(params, targets[0]), atol=1e-12)
    random = np.random.default_rng(0)
    step = jax.tree.map(lambda leaf: jnp.asarray(random.standard_normal(leaf.shape)), params)
    slopes = jax.jit(jax.grad(value))(params, targets[1])
    slope = sum(jnp.sum(g * s) for g, s in zip(jax.tree.leaves(slopes), jax.tree.leaves(step), strict=True))
    ahead, behind = (one(jax.tree.map(lambda v, s, h=h: v + h * s, params, step), targets[1]) for h in (1e-6, -1e-6))
    np.testing.assert_allclose(slope, (ahead - behind) / 2e-6, rtol=1e-6)


@pytest.mark.xla
def test_two_passes_keep_one_layer_at_a_time() -> None:
    # Wide and deep enough for the factors to outweigh all else; the compiler's own account of the memory it needs.
    config = dataclasses.replace(SMALL, d_ff=512, n_layers=16, d_model=16)
    params = jax.eval_shape(lambda: random_params(config))
    ids = jax.ShapeDtypeStruct((1, 128), jnp.int32)

    def needed(passes: int) -> int:
        run = jax.jit(lambda p, i: landed.attribute_streaming(p, i, config, landed.reduce.layer_sums(), passes=passes))
        return run.lower(params, ids).compile().memory_analysis().temp_size_in_bytes

    def plain() -> int:
        run = jax.jit(lambda p, i: landed.forward(p, i, config, record=())[0])
        return run.lower(params, ids).compile().memory_analysis().temp_size_in_bytes

    predicted = landed.memory.attribution_bytes(config, length=128)
    assert predicted[1] > 4 * predicted[2]
    one_pass, two_passes = needed(1), needed(2)
    factors = sum(
        trace_bytes(config, length=128, record={HookPoint.NEURON, HookPoint.HEAD})[site] for site in ("neuron", "head")
    )
    assert one_pass - two_passes > 0.6 * factors
    assert two_passes < plain() + 2 * predicted[2]


def test_the_choice_follows_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    params, ids, needed = random_params(SMALL), jnp.ones((1, 5), int), landed.memory.attribution_bytes(SMALL, length=5)
    weights = 4 * landed.nn.count_parameters(SMALL)
    for memory, passes in ((4 * needed[1], 1), (4 * needed[1] - 4, 2)):
        monkeypatch.setattr("landed_jax.memory.estimates.device_memory", lambda memory=memory: memory)
        assert landed.memory.choose_passes(needed) == passes
        assert landed.memory.choose_passes(needed, weights=8) == 2
        monkeypatch.setattr("landed_jax.memory.estimates.device_memory", lambda memory=memory + weights: memory)
        found = jax.eval_shape(lambda: landed.attribute_streaming(params, ids, SMALL, landed.reduce.layer_sums()))
        assert found.passes == passes


def test_against_is_short_for_a_logit_difference_as_in_attribute() -> None:
    whole, ids = model("small"), random_tokens(SMALL)
    for found, question in (
        (whole.attribute_streaming(ids, ALL, 1, 2), landed.Logit(1, against=2)),
        (whole.attribute_streaming(ids, ALL, against=2), landed.Logit(against=2)),
        (landed.attribute_streaming(whole.params, ids, SMALL, ALL, 1, against=2), landed.Logit(1, against=2)),
    ):
        expected = whole.attribute_streaming(ids, ALL, question)
        np.testing.assert_allclose(found.value, expected.value, atol=1e-6)
        np.testing.assert_allclose(found.reduced.landed.neurons, expected.reduced.landed.neurons, atol=1e-6)
        np.testing.assert_array_equal(found.against, expected.against)
    with pytest.raises(LandedError, match="against= goes with a bare token"):
        whole.attribute_streaming(ids, ALL, landed.Logit(1), 2)


def test_what_cannot_be_is_refused() -> None:
    whole = model("small")
    for make in (
        lambda: landed.reduce.top_writes(0),
        lambda: landed.reduce.top_per_position(-1),
        lambda: landed.reduce.top_writes(2.5),
    ):
        with pytest.raises(LandedError, match="at least 1"):
            make()
    with pytest.raises(LandedError, match="not True"):
        landed.reduce.top_writes(True)
    for wrong in (landed.reduce.top_writes, len, []):
        with pytest.raises(LandedError, match="takes a Reduction, such as"):
            whole.attribute_streaming([[1, 2]], wrong)  # pyright: ignore[reportArgumentType]
    with pytest.raises(LandedError, match="is resolved against the pass"):
        whole.attribute_streaming([[1, 2]], ALL, landed.resolve(model("biased").trace([[1, 2]]), PROBE))
    with pytest.raises(LandedError, match="2 positions to look at, not 3"):
        landed.memory.attribution_bytes(SMALL, length=2, positions=3)
    with pytest.raises(LandedError, match="made of functions"):
        Reduction(3)  # pyright: ignore[reportArgumentType]
    for edges in ((), (1.0, 1.0), (2.0, 1.0), (float("nan"),)):
        with pytest.raises(LandedError, match="ascend"):
            landed.reduce.histogram(edges)
    with pytest.raises(LandedError, match="1 or 2 passes"):
        whole.attribute_streaming([[1, 2]], ALL, passes=3)  # pyright: ignore[reportArgumentType]
    with pytest.raises(LandedError, match="1 or 2 passes"):
        whole.attribute_streaming([[1, 2]], ALL, passes=True)  # pyright: ignore[reportArgumentType]
    with pytest.raises(LandedError, match="length=0"):
        landed.memory.attribution_bytes(SMALL, length=0)
    for target in (99, 2**40):
        with pytest.raises(LandedError, match=f"no token {target}"):
            whole.attribute_streaming([[1, 2]], ALL, target)
    with pytest.raises(LandedError, match="no tokenizer"):
        whole.attribute_streaming([[1, 2]], ALL, " Rome")


PROBE = landed.Vector(np.linspace(-1, 1, BIASED.d_model), site="final")


@pytest.mark.parametrize("passes", [1, 2])
def test_a_probe_is_read_like_a_logit(passes: int, x64: None) -> None:
    whole, tokens = model("biased", "float64"), random_tokens(BIASED)
    found = whole.attribute_streaming(tokens, ALL, PROBE, effects=True, passes=passes)
    trace = whole.trace(tokens)
    expected = landed.attribute(trace, PROBE)
    assert expected.direct_effect is not None and found.target is None
    for mine, theirs in (
        (found.reduced.landed, expected.landed),
        (found.reduced.direct_effect, expected.direct_effect),
    ):
        for x, y in zip(numbers(mine), numbers(theirs), strict=True):
            np.testing.assert_allclose(x, y, atol=1e-12)
    assert float(found.closure_error.max()) < 1e-11
    with pytest.raises(LandedError, match=r"final norm, not at 0\.mlp"):
        whole.attribute_streaming(tokens, ALL, landed.Neuron(0, 3, "gate"), passes=passes)


def test_chosen_writes_have_names_and_vectors() -> None:
    whole, tokens = model("biased"), random_tokens(BIASED)
    found = whole.attribute_streaming(tokens, landed.reduce.top_writes(9), 1, at=[-1, 2])
    writes = found.writes()
    assert len(writes) == 9 and {write.position for write in writes} == {2, 4}
    trace = whole.trace(tokens, at=sorted({write.position for write in writes}))
    vectors = landed.land(trace, writes, site="final")
    row = np.asarray(landed.resolve(trace, landed.Logit(1)).vector)[0, 0]
    np.testing.assert_allclose(vectors @ row, found.reduced.landed, atol=1e-5)
    # The second prompt's column 1 is padding, so all of its writes are left out.
    padded = whole.attribute_streaming(tokens, landed.reduce.top_per_position(2), 1, at=[1]).writes()
    assert [write.batch for write in padded] == [0, 0]
    with pytest.raises(LandedError, match="top_writes"):
        whole.attribute_streaming(tokens, landed.reduce.layer_sums(), 1).writes()
