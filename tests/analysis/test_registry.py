"""What holds for every analysis: it works inside the user's transforms, lowers for every platform, and is labelled."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from jax.sharding import Mesh, PartitionSpec

import landed_jax as landed
from landed_jax import RESIDUALS, LandedError, Trace
from landed_jax.analysis.registry import Analysis
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import stack_layers
from landed_jax.results.result import Result
from tests.models import SMALL, n_sites, random_params

ANALYSES = landed.analyses()
PROMPTS = np.array([[1, 5, 2], [3, 3, 8], [0, 12, 7], [9, 1, 1]])
PROBE = np.linspace(-1, 1, SMALL.d_model)
# Of the same sizes, with what changes what is read and written: a mean taken off, a bias of each norm, one write more.
OTHER = dataclasses.replace(
    SMALL,
    norm="layer",
    parallel_blocks=True,
    gated_mlp=False,
    learned_positions=True,
    qkv_bias=True,
    output_bias=True,
    mlp_bias=True,
    logit_cap=3.0,
)
EXPERTS = dataclasses.replace(
    SMALL, n_experts=5, experts_per_token=2, router_bias=True, router_normalised=False, mlp_bias=True, sinks=True
)
each_model = pytest.mark.parametrize(
    "config",
    [
        pytest.param(SMALL, id="small"),
        pytest.param(OTHER, id="other", marks=pytest.mark.slow),
        pytest.param(EXPERTS, id="experts", marks=pytest.mark.slow),
    ],
)
QUESTIONS = {
    "token": lambda: 4,
    "logit difference": lambda: landed.Logit(4, against=2),
    "centred": lambda: landed.Logit(4, centred=True),
    "neuron": lambda: landed.Neuron(1, 5, "gate"),
    "expert's neuron": lambda: landed.Neuron(1, 5, "gate", expert=3),
    "router": lambda: landed.Router(1, 4),
    "head": lambda: landed.Head(1, 2, "key", jnp.asarray(PROBE[:4])),
    "vector": lambda: landed.Vector(jnp.asarray(PROBE), site="1.mlp"),
}


def traced(params: dict, ids: Any, analysis: Analysis, config: ModelConfig = SMALL) -> Trace:
    _, trace = landed.forward(params, jnp.asarray(ids), config, record=analysis.record | RESIDUALS)
    return trace.bind(params)


def call(analysis: Analysis, trace: Trace, question: Any = 4) -> Any:
    asked = (question,) if analysis.asks else ()
    return analysis.function(trace, *asked, **analysis.example(trace))


def floats(found: Any) -> list[jax.Array]:
    return [leaf for leaf in jax.tree.leaves(found) if jnp.issubdtype(leaf.dtype, jnp.floating)]


def test_the_registry_holds_every_public_analysis() -> None:
    assert {"attribute", "closure_error", "land", "coordinates", "amplification", "logit_lens"} <= set(ANALYSES)
    for name, analysis in ANALYSES.items():
        assert analysis.function.__name__ == name and analysis.function.__doc__
        if analysis.asks:  # the second argument, under the same name
            assert list(analysis.function.__annotations__)[1] == "question"


@each_model
@pytest.mark.parametrize("name", ANALYSES)
def test_under_jit_vmap_and_shard_map(name: str, config: ModelConfig) -> None:
    analysis, params = ANALYSES[name], random_params(config)

    def run(ids: jax.Array) -> Any:
        return call(analysis, traced(params, ids, analysis, config))

    one = jax.jit(run)
    plain = [floats(one(jnp.asarray(PROMPTS[row : row + 1]))) for row in range(4)]
    for found, expected in zip(floats(run(PROMPTS[:1])), plain[0], strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-3)
    mapped = jax.jit(jax.vmap(lambda row: run(row[None])))(jnp.asarray(PROMPTS))
    for row in range(4):
        for found, expected in zip(floats(mapped), plain[row], strict=True):
            np.testing.assert_allclose(found[row], expected, atol=1e-4, rtol=1e-3)
    mesh = Mesh(np.array(jax.devices()[:4]), ("data",))

    def shard(ids: jax.Array) -> Any:
        return jax.tree.map(lambda leaf: leaf[None], floats(run(ids)))

    rows = PartitionSpec("data")
    sharded = jax.jit(jax.shard_map(shard, mesh=mesh, in_specs=rows, out_specs=rows, check_vma=False))
    for found, expected in zip(sharded(jnp.asarray(PROMPTS)), zip(*plain, strict=True), strict=True):
        np.testing.assert_allclose(found, np.stack(expected), atol=1e-4, rtol=1e-3)


# A closure error is rounding: it has no slope to compare with.
@each_model
@pytest.mark.parametrize("name", [name for name in ANALYSES if name != "closure_error"])
def test_grad_is_the_slope(name: str, config: ModelConfig, x64: None) -> None:
    analysis, params = ANALYSES[name], random_params(config, dtype=jnp.float64)
    random = np.random.default_rng(0)
    step = jax.tree.map(lambda leaf: jnp.asarray(random.standard_normal(leaf.shape)), params)
    question = jax.jit(lambda p: landed.resolve(traced(p, PROMPTS[:1], analysis, config), 4).target)(params)

    def value(h: jax.Array) -> jax.Array:
        there = jax.tree.map(lambda leaf, s: leaf + h * s, params, step)
        found = floats(call(analysis, traced(there, PROMPTS[:1], analysis, config), question))
        return sum((jnp.sum(jnp.where(jnp.isfinite(leaf), leaf, 0)) for leaf in found), jnp.zeros(()))

    slope = jax.jit(jax.grad(value))(0.0)
    ahead, behind = (jax.jit(value)(h) for h in (1e-6, -1e-6))
    np.testing.assert_allclose(slope, (ahead - behind) / 2e-6, rtol=2e-4, atol=1e-5)


@each_model
@pytest.mark.parametrize("hold", [lambda params: params, stack_layers], ids=["subtrees", "stacked"])
@pytest.mark.parametrize("name", ANALYSES)
def test_lowers_for_every_platform(name: str, hold: Callable[[dict], dict], config: ModelConfig) -> None:
    analysis = ANALYSES[name]
    shapes = jax.eval_shape(lambda: hold(random_params(config)))

    def run(params: dict, ids: jax.Array) -> list[jax.Array]:
        return floats(call(analysis, traced(params, ids, analysis, config)))

    exported = jax.export.export(jax.jit(run), platforms=("cpu", "cuda", "tpu"))
    assert exported(shapes, jax.ShapeDtypeStruct((1, 3), jnp.int32)).platforms == ("cpu", "cuda", "tpu")


@each_model
@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("name", [name for name, analysis in ANALYSES.items() if analysis.asks])
def test_every_question_is_answered_or_refused(name: str, question: str, config: ModelConfig) -> None:
    analysis = ANALYSES[name]
    trace = traced(random_params(config), PROMPTS[:2], analysis, config)
    asked = QUESTIONS[question]()
    foreign = ("neuron",) if config.n_experts else ("expert's neuron", "router")
    inside = ("neuron", "expert's neuron", "router", "head", "vector")
    if question in foreign or (analysis.final_only and question in inside):
        with pytest.raises(LandedError):
            call(analysis, trace, asked)
        return
    try:
        resolved = landed.resolve(trace, asked)
        first, second = (call(analysis, trace, each) for each in (asked, resolved))
    except LandedError:
        assert name in ("attribute_log_probability", "capped_effects", "confidence_effects")  # of tokens alone
        return
    if name != "volume" or question != "token":  # where a bare token is short for its centred logit
        jax.tree.map(np.testing.assert_array_equal, first, second)


@each_model
@pytest.mark.parametrize("name", ANALYSES)
def test_results_know_where_they_come_from(name: str, config: ModelConfig) -> None:
    analysis = ANALYSES[name]
    trace = traced(random_params(config), PROMPTS[:2], analysis, config).bind(random_params(config), model="a name")
    found = call(analysis, trace)
    if not isinstance(found, Result):
        assert isinstance(found, jax.Array)  # vectors of chosen writes
        return
    assert found.known is trace.provenance
    labelled = found.to_xarray()
    assert isinstance(labelled, xr.Dataset) and labelled.attrs["model"] == "a name"
    if labelled.sizes.get("site") == n_sites(SMALL):
        assert labelled["site"].values.tolist()[0] == "0.attn"
    if "position" in labelled.sizes:
        assert labelled["token_id"].values.tolist() == PROMPTS[:2].tolist()
    assert repr(found).startswith(f"{type(found).__name__}(a name, 2 layers, 2 × 3 tokens; ")
    assert "0." not in repr(found)  # shapes, and no values
    assert len(found.to_pandas()) == sum(values.size for values in labelled.data_vars.values())
    other = dataclasses.replace(trace.provenance, tokens=landed.Tokens.from_lists([[1, 2, 3], [4, 5, 6]]))
    with pytest.raises(LandedError, match="another trace"):
        landed.results.to_xarray(found, other)


@pytest.mark.parametrize("name", ANALYSES)
def test_parts_of_results_know_it_too(name: str) -> None:
    analysis = ANALYSES[name]
    trace = traced(random_params(SMALL), PROMPTS[:2], analysis).bind(random_params(SMALL), model="a name")

    def check(part: Any) -> None:
        if not isinstance(part, Result):
            return
        assert part.known.model == "a name" and part.tokens is trace.tokens
        for field in dataclasses.fields(part):
            check(getattr(part, field.name))

    check(call(analysis, trace))


def test_a_part_is_labelled_like_the_whole() -> None:
    trace = traced(random_params(SMALL), PROMPTS[:2], ANALYSES["outliers"])
    without = landed.basis.outliers(trace, 4).without.to_xarray()
    assert without["token_id"].values.tolist() == PROMPTS[:2].tolist()
    assert landed.attribute(trace, 4).scale.to_xarray()["site"].values.tolist() == list(trace.order.sites)
    log_p = landed.attribution.attribute_log_probability(trace, 4)
    pooled = landed.attribution.frozen_sigma_agreement(trace, 4).pooled()
    for part in (
        log_p.frozen_sigma_agreement.heads,
        pooled.heads,
        landed.scale.amplification_statistics(trace, delimiters=[3]).of("heads").norm_ratio,
    ):
        assert part.known is trace.provenance


def test_a_read_of_another_trace_is_refused() -> None:
    params, analysis = random_params(SMALL), ANALYSES["attribute"]
    mine = traced(params, PROMPTS[:1], analysis)
    read = landed.resolve(mine, 4)
    assert read.to_xarray()["token_id"].values.tolist() == PROMPTS[:1].tolist()
    for ids in (PROMPTS[1:2], PROMPTS[:2], PROMPTS[:1, :2]):
        with pytest.raises(LandedError, match="another trace"):
            landed.attribute(traced(params, ids, analysis), read)
    np.testing.assert_array_equal(landed.attribute(mine, read).total, landed.attribute(mine, 4).total)


def test_rows_and_files_of_mapped_results(tmp_path: Path) -> None:
    trace = traced(random_params(SMALL), PROMPTS[:1], ANALYSES["attribute"])
    many = jax.vmap(lambda token: landed.attribute(trace, token))(jnp.arange(3))
    many.save(tmp_path / "many.nc", axes=("token",))
    assert landed.load_result(tmp_path / "many.nc")["value"].dims == ("token", "batch", "position")
    with pytest.raises(LandedError, match="outside of jit"):
        many.top(3)
    with pytest.raises(LandedError, match="outside of jit"):
        jax.jit(lambda trace: landed.attribute(trace, 4).top(3)[0].landed)(trace)


def test_questions_of_several_say_so_and_show_shapes() -> None:
    trace = traced(random_params(SMALL), PROMPTS[:1], ANALYSES["attribute"])
    with pytest.raises(LandedError, match=r"jax\.vmap for several"):
        landed.attribute(trace, landed.Neuron(1, jnp.arange(3), "gate"))
    assert repr(landed.Vector(jnp.ones(12), site="final")) == "Vector(vector f32[12])"
