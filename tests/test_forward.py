"""`forward` as a pure function: the same numbers however it is transformed, padded, recorded or held."""

import dataclasses
import functools
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landed_jax.errors import LandedError
from landed_jax.forward_pass import forward
from landed_jax.model import Model
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.hook_points import EMBEDDINGS, OUTPUT_SCALES, RESIDUALS, ROUTING, SOURCES, WRITES, HookPoint
from landed_jax.nn.parameters import Params, stack_layers
from landed_jax.nn.rope_config import RopeConfig
from landed_jax.tokens import Tokens, as_tokens
from landed_jax.trace import Trace
from tests.models import CONFIGS, LAYER_NORM, SMALL, configs, random_params
from tests.reference.numpy_model import numpy_forward

CONFIG = ModelConfig(
    vocab_size=11,
    d_model=8,
    n_layers=2,
    n_heads=4,
    n_kv_heads=2,
    head_dim=4,
    d_ff=12,
    qkv_bias=True,
    output_bias=True,
    mlp_bias=True,
)
PARAMS = random_params(CONFIG)
IDS = jnp.array([[1, 5, 7, 2, 9], [3, 0, 3, 10, 4]])
BAR = {"float32": 2e-6, "float64": 1e-14}

both_types = pytest.mark.parametrize("dtype", ["float32", "float64"])
both_holdings = pytest.mark.parametrize("hold", [lambda params: params, stack_layers], ids=["unrolled", "scan"])


@pytest.fixture
def precision(dtype: str) -> Any:
    with jax.enable_x64(dtype == "float64"):
        yield


@functools.partial(jax.jit, static_argnames=("config", "record", "edits", "dtype"))
def run(
    params: Params,
    tokens: Any,
    config: ModelConfig = CONFIG,
    record: frozenset[HookPoint] = WRITES,
    at: Any = None,
    edits: tuple[tuple[HookPoint, Any], ...] = (),
    dtype: Any = None,
) -> tuple[jax.Array, Trace]:
    return forward(params, tokens, config, record=record, at=at, edits=dict(edits), dtype=dtype)


def assert_same(ours: Any, theirs: Any, bar: float) -> None:
    """Leaf by leaf, equal to `bar` times the leaf's largest value (or 1, where that is larger)."""
    ours, theirs = jax.tree.leaves(ours), jax.tree.leaves(theirs)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.shape == b.shape and a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=bar * max(1.0, np.abs(b).max()))


def weighted_logit(params: Params, tokens: Any) -> jax.Array:
    """A scalar that every position and token has a part in."""
    logits, _ = forward(params, tokens, CONFIG, record=())
    return jnp.sum(logits * jnp.cos(jnp.arange(logits.size).astype(logits.dtype)).reshape(logits.shape))


@both_types
def test_scan_equals_the_unrolled_loop_in_values_and_gradients(dtype: str, precision: None) -> None:
    record = frozenset(HookPoint)
    unrolled, scanned = (run(hold(PARAMS), IDS, record=record) for hold in (lambda params: params, stack_layers))
    assert unrolled[0].dtype == dtype
    assert_same(scanned, unrolled, BAR[dtype])
    wide = jax.tree.map(lambda leaf: leaf.astype(dtype), PARAMS)
    gradient = jax.jit(jax.grad(weighted_logit))
    # Hundreds of terms meet in a gradient, so it is a few roundings further off.
    assert_same(gradient(stack_layers(wide), IDS), stack_layers(gradient(wide, IDS)), 5 * BAR[dtype])


def for_these_prompts(config: ModelConfig) -> ModelConfig:
    """The same architecture with enough tokens and learned positions for `IDS`."""
    positions = max(config.max_positions, IDS.shape[1]) if config.learned_positions else config.max_positions
    return dataclasses.replace(config, vocab_size=11, max_positions=positions)


@settings(max_examples=5)
@given(
    config=configs().map(for_these_prompts),
    seed=st.integers(0, 99),
    mask=st.sampled_from([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]]),
)
def test_scan_unrolled_and_the_mathematics_agree_on_any_model(config: ModelConfig, seed: int, mask: list[int]) -> None:
    with jax.enable_x64(True):
        params = random_params(config, seed)
        tokens = Tokens(IDS, jnp.array([[1, 1, 1, 1, 1], mask], bool))
        unrolled, scanned = (run(hold(params), tokens, config) for hold in (lambda params: params, stack_layers))
        assert_same(scanned, unrolled, BAR["float64"])
        real = np.asarray(tokens.mask)
        expected = numpy_forward(params, tokens.ids, tokens.mask, config)["logits"]
        assert_same(np.asarray(unrolled[0])[real], expected[real], 1e-12)


@pytest.mark.quick
@pytest.mark.parametrize("name", CONFIGS)
def test_every_recorded_value_is_that_of_the_mathematics(name: str, x64: None) -> None:
    config = CONFIGS[name]
    params = random_params(config)
    record = WRITES | SOURCES | RESIDUALS | ROUTING | {HookPoint.QUERY, HookPoint.KEY}
    _, trace = run(params, IDS, config, record=record)
    expected = numpy_forward(params, IDS, None, config)
    names = {
        "q": HookPoint.QUERY,
        "k": HookPoint.KEY,
        "v": HookPoint.VALUE,
        "pattern": HookPoint.PATTERN,
        "z": HookPoint.HEAD,
        "a": HookPoint.NEURON,
    }
    recorded = {name: trace[site] for name, site in names.items()}
    recorded |= {"sigma": trace.sigma, "gamma": trace.gamma, "residual": trace.residual}
    recorded |= {name: trace[site] for site in EMBEDDINGS | ROUTING if (name := site.value) in trace.sown}
    expected = {name: value.astype(np.int32) if name == "expert" else value for name, value in expected.items()}
    assert_same(recorded, {name: expected[name] for name in recorded}, 1e-13)


@both_holdings
def test_jit_and_vmap_equal_the_plain_call(hold: Callable[[Params], Params]) -> None:
    params = hold(PARAMS)
    logits, trace = forward(params, IDS, CONFIG)
    jitted, jitted_trace = run(params, IDS)
    assert_same((jitted, jitted_trace), (logits, trace), BAR["float32"])
    alone, alone_trace = jax.jit(jax.vmap(lambda ids: forward(params, ids[None], CONFIG)))(IDS)
    assert_same(alone[:, 0], logits, BAR["float32"])
    without = OUTPUT_SCALES | ROUTING | {HookPoint.POSITION_EMBEDDING}
    assert {HookPoint(site) for site in trace.sown} == WRITES - without
    for site in map(HookPoint, trace.sown):
        axes = ("prompt", *trace.axes(site))
        mapped = alone_trace[site]
        # A prompt's own batch axis has size 1; a value without one, γ, is the same for every prompt.
        if "batch" in axes:
            mapped = jnp.moveaxis(jnp.squeeze(mapped, axes.index("batch")), 0, axes.index("batch") - 1)
        else:
            mapped = mapped[0]
        assert_same(mapped, trace[site], BAR["float32"])


def test_the_gradient_matches_finite_differences(x64: None) -> None:
    params = random_params(CONFIG, dtype="float64")
    towards = random_params(CONFIG, seed=1, dtype="float64")
    value = jax.jit(weighted_logit)
    step = 1e-5
    ahead, behind = (value(jax.tree.map(lambda p, t, s=s: p + s * t, params, towards), IDS) for s in (step, -step))
    gradient = jax.jit(jax.grad(weighted_logit))(params, IDS)
    slope = sum(jnp.vdot(g, t) for g, t in zip(jax.tree.leaves(gradient), jax.tree.leaves(towards), strict=True))
    np.testing.assert_allclose(slope, (ahead - behind) / (2 * step), rtol=1e-7)


@pytest.mark.parametrize(("kind", "dtype"), [("default", "float32"), ("dynamic", "float64")])
def test_padding_on_either_side_changes_nothing(kind: Any, dtype: str, precision: None) -> None:
    config = ModelConfig(**{**vars(CONFIG), "max_positions": 3, "rope": RopeConfig(kind, factor=2.0)})
    prompts = [[1, 5, 7, 2, 9], [3, 8], [4]]
    left = Tokens.from_lists(prompts)
    ids, mask = np.zeros((3, 5), np.int32), np.zeros((3, 5), bool)
    for row, prompt in enumerate(prompts):
        ids[row, : len(prompt)], mask[row, : len(prompt)] = prompt, True
    right = Tokens(jnp.asarray(ids), jnp.asarray(mask))
    (left_logits, left_trace), (right_logits, right_trace) = (run(PARAMS, t, config) for t in (left, right))
    for row, prompt in enumerate(prompts):
        logits, trace = run(PARAMS, jnp.array([prompt]), config)
        n = len(prompt)
        for ours, sigma in (
            (left_logits[row, -n:], left_trace.sigma[:, row, -n:]),
            (right_logits[row, :n], right_trace.sigma[:, row, :n]),
        ):
            assert_same((ours, sigma), (logits[0], trace.sigma[:, 0]), BAR[dtype])


def compiled(params: Params, record: frozenset[HookPoint]) -> Any:
    def sown(params: Params, ids: jax.Array) -> Any:
        logits, trace = forward(params, ids, CONFIG, record=record)
        return logits, trace.sown

    return jax.jit(sown).lower(params, IDS).compile()


def program(executable: Any) -> str:
    """The optimised program without where in the source each line came from (numbered tables, and metadata)."""
    lines = [line for line in executable.as_text().splitlines() if not re.match(r"\d+ ", line)]
    return re.sub(r", metadata=\{[^}]*\}", "", "\n".join(lines))


@pytest.mark.xla
@both_holdings
def test_a_site_that_is_not_recorded_costs_nothing(
    hold: Callable[[Params], Params], monkeypatch: pytest.MonkeyPatch
) -> None:
    params = hold(PARAMS)
    tapped = compiled(params, frozenset())
    monkeypatch.setattr("landed_jax.nn.modules.tap", lambda module, plan, site, value, layer, at: value)
    untapped = compiled(params, frozenset())
    assert str(tapped.memory_analysis()) == str(untapped.memory_analysis())
    assert program(tapped) == program(untapped)


@pytest.mark.xla
@both_holdings
@pytest.mark.parametrize("site", [HookPoint.NEURON, HookPoint.ATTN_SIGMA, HookPoint.PATTERN, HookPoint.FINAL_RESIDUAL])
def test_recording_a_site_adds_its_own_bytes_and_no_more(site: HookPoint, hold: Callable[[Params], Params]) -> None:
    params = hold(PARAMS)
    without, with_site = (compiled(params, record).memory_analysis() for record in (frozenset(), frozenset({site})))
    sizes = {"layer": 2, "batch": 2, "position": 5, "source": 5, "head": 4, "neuron": 12, "d_model": 8}
    _, trace = jax.eval_shape(lambda p: forward(p, IDS, CONFIG, record={site}), params)
    expected = 4 * int(np.prod([sizes[axis] for axis in trace.axes(site)]))
    pointers = 16  # two outputs come in a tuple of addresses, the logits alone do not
    assert with_site.output_size_in_bytes - without.output_size_in_bytes == expected + pointers


def drop_head(z: jax.Array, layer: jax.Array | None) -> jax.Array:
    return jnp.where(layer == 1, z.at[:, :, 2].set(0), z)


def drop_neuron(a: jax.Array, layer: jax.Array | None) -> jax.Array:
    return jnp.where(layer == 0, a.at[:, :, 5].set(0), a)


@both_holdings
@pytest.mark.parametrize(
    ("site", "edit", "zero"),
    [(HookPoint.HEAD, drop_head, {"head": (1, 2)}), (HookPoint.NEURON, drop_neuron, {"neuron": (0, 5)})],
    ids=["head", "neuron"],
)
def test_an_edit_is_an_ablation_and_is_recorded(
    site: HookPoint, edit: Any, zero: dict[str, tuple[int, int]], hold: Callable[[Params], Params], x64: None
) -> None:
    logits, trace = run(hold(PARAMS), IDS, edits=((site, edit),))
    expected = numpy_forward(PARAMS, IDS, None, CONFIG, zero)
    assert_same(logits, expected["logits"], 1e-13)
    assert np.abs(expected["logits"] - numpy_forward(PARAMS, IDS, None, CONFIG)["logits"]).max() > 1e-3
    assert_same(trace[site], expected["z" if site is HookPoint.HEAD else "a"], 1e-13)
    layer, index = next(iter(zero.values()))
    assert not np.any(trace[site][layer, :, :, index])


@both_holdings
def test_at_selects_the_same_numbers(hold: Callable[[Params], Params]) -> None:
    at = jnp.array([4, 1])
    logits, trace = run(hold(PARAMS), IDS, record=frozenset(HookPoint))
    some_logits, some = run(hold(PARAMS), IDS, record=frozenset(HookPoint), at=at)
    assert_same(some_logits, logits[:, at], BAR["float32"])
    assert_same(some.at, at, 0)
    for site in trace.sown:
        axes = trace.axes(HookPoint(site))
        value = jnp.take(trace[site], at, axes.index("position")) if "position" in axes else trace[site]
        assert_same(some[site], value, BAR["float32"])


@both_holdings
def test_bfloat16_weights_are_cast_as_they_are_used(hold: Callable[[Params], Params]) -> None:
    narrow = jax.tree.map(lambda leaf: leaf.astype("bfloat16"), hold(PARAMS))
    upcast = jax.tree.map(lambda leaf: leaf.astype("float32"), narrow)
    assert_same(run(narrow, IDS), run(upcast, IDS), 0)


def test_types_that_cannot_be_computed_in_are_refused() -> None:
    with pytest.raises(LandedError, match="JAX_ENABLE_X64=1"):
        forward(PARAMS, IDS, CONFIG, dtype="float64")
    with pytest.raises(LandedError, match="bfloat16 is not one to compute in"):
        forward(PARAMS, IDS, CONFIG, dtype="bfloat16")
    with pytest.raises(LandedError, match="'foo' is not one to compute in"):
        forward(PARAMS, IDS, CONFIG, dtype="foo")


@pytest.mark.quick
@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"record": "head"}, "record= takes a set of sites"),
        ({"record": None}, "record= takes a set of sites"),
        ({"record": ["heads"]}, "'heads' is not a site; these are: embedding, "),
        ({"edits": {"heads": jnp.zeros}}, "'heads' is not a site"),
        ({"edits": [jnp.zeros]}, "edits= takes a dictionary from sites to functions"),
        ({"edits": {HookPoint.HEAD: 0}}, "edits= takes a dictionary from sites to functions"),
        ({"observers": jnp.sum}, "observers= takes a dictionary from names to functions"),
        (
            {"edits": {HookPoint.HEAD: lambda z, layer: None}},
            "The edit of head gives None, where the model goes on with",
        ),
        ({"edits": {HookPoint.HEAD: lambda z, layer: z[0]}}, r"gives float32 of shape \[5, 4, 4\], where"),
        ({"edits": {HookPoint.HEAD: lambda z, layer: z.astype("bfloat16")}}, "gives bfloat16 of shape"),
        (
            {"edits": {HookPoint.HEAD: lambda z, layer: 0 * z if layer == 1 else z}},
            r"jnp.where\(layer == 3, new, value",
        ),
        ({"edits": {HookPoint.HEAD: lambda z, layer: z * [1, 2][layer]}}, r"jnp.where\(layer == 3"),
        ({"edits": {HookPoint.HEAD: lambda z, layer: z * int(layer)}}, r"jnp.where\(layer == 3"),
    ],
)
def test_what_is_asked_wrongly_is_refused(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(LandedError, match=message):
        Model(CONFIG, PARAMS).trace(IDS, **asked)


@pytest.mark.parametrize(
    ("config", "site", "reason"),
    [
        (LAYER_NORM, HookPoint.UP, "its MLP has no up product, and GATE holds"),
        (SMALL, HookPoint.POSITION_EMBEDDING, "it learned no positions"),
    ],
    ids=["up", "positions"],
)
def test_a_place_that_a_model_does_not_have(config: ModelConfig, site: HookPoint, reason: str) -> None:
    params = random_params(config)
    with pytest.raises(LandedError, match=f"This model has no {site.value} to edit: {reason}"):
        forward(params, IDS, config, edits={site: lambda value, layer: value})
    with pytest.raises(LandedError, match=f"This model has no {site.value}: {reason}"):
        forward(params, IDS, config)[1][site]
    if site not in WRITES:  # of a group, what is not there is left out
        with pytest.raises(LandedError, match=f"This model has no {site.value} to record: {reason}"):
            forward(params, IDS, config, record=WRITES | {site})


def test_learned_positions_are_those_of_each_prompt_and_end() -> None:
    params = random_params(LAYER_NORM)
    tokens = Tokens.from_lists([[1, 5, 7], [3]])
    _, trace = forward(params, tokens, LAYER_NORM)
    places = trace[HookPoint.POSITION_EMBEDDING]
    assert_same((places[0], places[1, 2]), (params["embed"]["W_pos"][:3], params["embed"]["W_pos"][0]), 0)
    long = Tokens.from_lists([[1] * 33])
    model = Model(LAYER_NORM, params)
    for ask in (
        lambda: forward(params, long, LAYER_NORM),
        lambda: model.trace(long),
        lambda: model.trace([[1] * 33]),
        lambda: model.trace(long.ids),
    ):
        with pytest.raises(LandedError, match="33 tokens, and this model learned no position beyond 32"):
            ask()
    assert np.isfinite(model.trace([[1] * 32]).logits).all()
    assert np.isnan(jax.jit(lambda ids: forward(params, ids, LAYER_NORM)[0])(long.ids)).any()  # and never a wrong one


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (jnp.array([[1, -1]]), "no token -1: this model's ids run from 0 to 10"),
        (jnp.array([[1, 11]]), "no token 11"),
        ([1, 2, 3], r"\[batch, position\] \(one prompt alone: \[ids\]\), not \[3\]"),
        ([[1.0]], "whole numbers, not float32"),
        ([[1], [2, 3]], "Tokens.from_lists"),
        ("abc", "not 'abc'"),
        ([[2**70]], "an array of whole numbers"),
        (Tokens(jnp.ones((1, 0), int), jnp.ones((1, 0), bool)), r"not \[1, 0\] and"),
        (Tokens(jnp.ones((1, 2)), jnp.ones((1, 2), bool)), "whole numbers, not float32"),
        (Tokens(jnp.ones((2, 3), int), jnp.ones((2, 4), bool)), r"not \[2, 3\] and \[2, 4\]"),
    ],
)
def test_tokens_that_cannot_be_are_refused(ids: Any, message: str) -> None:
    with pytest.raises(LandedError, match=message):
        tokens = as_tokens(ids)
        forward(PARAMS, tokens, CONFIG)


def test_float32_can_be_asked_for_under_x64(x64: None) -> None:
    logits, trace = run(PARAMS, IDS, dtype="float32")
    assert {leaf.dtype for leaf in jax.tree.leaves((logits, trace.sown))} == {np.dtype("float32")}
