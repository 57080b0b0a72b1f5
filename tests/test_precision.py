"""The precision policy: products of bfloat16 factors against NumPy, what stays in the stream's type, who says it."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax import NORMED, RESIDUALS, WRITES, HookPoint, LandedError, Model
from landed_jax.cli.commands import status_of
from landed_jax.nn.attention import attention_pattern, mix_values
from landed_jax.nn.config import Scoring
from landed_jax.nn.expert_products import _ragged, expert_linear
from landed_jax.nn.products import head_linear, linear
from landed_jax.numerics import narrowed
from landed_jax.results.files import load_result
from tests.models import CONFIGS, SMALL, random_params, random_tokens
from tests.studies.runs import prompts_of, tiny
from tests.traces import unembedding

U = 2.0**-8  # unit roundoff of bfloat16: 8 significant bits
PROMPT = "The Colosseum is in the city of"


def rounded(x: Any) -> np.ndarray:
    """To bfloat16 by its bits, nearest and ties to even, as float64."""
    bits = np.asarray(x, np.float32).view(np.uint32)
    kept = (bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return kept.view(np.float32).astype(np.float64)


def normal(*shape: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


def assert_is_of_rounded(found: Any, letters: str, one: Any, other: Any) -> None:
    """Within float32's own error of sums of the rounded factors' products, and not of the factors' own."""
    exact = np.einsum(letters, rounded(one), rounded(other))
    size = np.einsum(letters, np.abs(rounded(one)), np.abs(rounded(other)))
    assert found.dtype == jnp.float32
    assert np.all(np.abs(np.asarray(found, np.float64) - exact) <= 64 * 2.0**-24 * size)
    plain = np.einsum(letters, np.asarray(one, np.float64), np.asarray(other, np.float64))
    assert np.max(np.abs(exact - plain)) > 100 * 2.0**-24 * np.max(size)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("count", [3, 70])
def test_a_product_is_numpys_of_rounded_factors(dtype: str, count: int) -> None:
    x, weight = normal(count, 24), normal(10, 24, seed=1).astype(dtype)
    wide = np.asarray(weight, np.float32)

    def between(x: jax.Array, weight: jax.Array) -> jax.Array:
        # As in a model: XLA has casts on either side that it could drop together with the rounding.
        return linear(x * 1, weight, bfloat16=True) * 1

    for function in (lambda x, w: linear(x, w, bfloat16=True), jax.jit(between)):
        assert_is_of_rounded(function(x, weight), "bi,oi->bo", x, wide)
    by_vmap = jax.vmap(lambda row: linear(row, weight, bfloat16=True))(x)
    assert_is_of_rounded(by_vmap, "bi,oi->bo", x, wide)


def test_products_of_heads_experts_and_attention_are() -> None:
    x, weight = normal(1, 3, 4, 6), normal(2, 5, 6, seed=1)
    by_group = np.asarray(x).reshape(1, 3, 2, 2, 6)
    assert_is_of_rounded(head_linear(x, weight, bfloat16=True), "bpkgi,koi->bpkgo", by_group, weight)

    rows, experts, ids = normal(7, 6), normal(3, 5, 6, seed=1), jnp.array([2, 0, 1, 1, 0, 2, 0])
    chosen = np.asarray(experts)[np.asarray(ids)]
    assert_is_of_rounded(expert_linear(rows, experts, ids, bfloat16=True), "ri,roi->ro", rows, chosen)
    assert_is_of_rounded(_ragged(narrowed(rows), experts, ids, True), "ri,roi->ro", rows, chosen)

    pattern, v = jax.nn.softmax(normal(1, 4, 3, 5)), normal(1, 5, 2, 6, seed=1)
    mixed = mix_values(pattern, v, bfloat16=True).reshape(1, 3, 2, 2, 6)
    assert_is_of_rounded(mixed, "bkgqs,bskd->bqkgd", np.asarray(pattern).reshape(1, 2, 2, 3, 5), v)

    q, k, visible = normal(1, 3, 2, 8), normal(1, 3, 2, 8, seed=1), jnp.ones((1, 3, 3), bool)
    found = attention_pattern(q, k, visible, Scoring(0.5, bfloat16=True))
    scores = np.einsum("bqhd,bshd->bhqs", rounded(q * 0.5), rounded(k))
    expected = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert np.max(np.abs(found - attention_pattern(q, k, visible, Scoring(0.5)))) > 1e-4


def test_a_slope_is_of_the_rounded_factors() -> None:
    x, weight, rows, experts = normal(3, 6), normal(5, 6, seed=1), normal(4, 6), normal(2, 5, 6, seed=1)
    ids = jnp.array([1, 0, 1, 1])
    of_x, of_weight = jax.grad(lambda x, w: jnp.sum(linear(x, w, bfloat16=True)), (0, 1))(x, weight)
    # Each is rounded once more, as its factor is.
    np.testing.assert_allclose(of_x, np.broadcast_to(rounded(weight).sum(0), x.shape), rtol=2 * U)
    np.testing.assert_allclose(of_weight, np.broadcast_to(rounded(x).sum(0), weight.shape), rtol=2 * U)
    of_rows = jax.grad(lambda r: jnp.sum(expert_linear(r, experts, ids, bfloat16=True)))(rows)
    np.testing.assert_allclose(of_rows, np.asarray(experts).sum(1)[np.asarray(ids)], rtol=2 * U)


RECORDED = WRITES | RESIDUALS | NORMED | {HookPoint.QUERY, HookPoint.KEY, HookPoint.VALUE, HookPoint.PATTERN}


@pytest.mark.parametrize("name", ["small", "both_norms", "layer_norm", "experts"])
def test_stream_sigma_and_factors_stay_in_float32(name: str) -> None:
    config = dataclasses.replace(CONFIGS[name], bfloat16_products=True)
    params, tokens = random_params(config, dtype=jnp.bfloat16), random_tokens(config)
    trace = jax.jit(lambda p, t: landed.forward(p, t, config, record=RECORDED))(params, tokens)[1]
    types = {site: value.dtype.name for site, value in trace.sown.items() if site != HookPoint.EXPERT.value}
    assert len(types) > 10 and set(types.values()) == {"float32"}
    # What is recorded is not what bfloat16 holds: only factors of products are rounded.
    residual = trace.sown[HookPoint.MLP_RESIDUAL.value]
    assert np.any(rounded(residual) != np.asarray(residual))


def traced(config: Any, params: Any, bfloat16: bool) -> tuple[Any, Any]:
    config = dataclasses.replace(config, bfloat16_products=bfloat16)
    trace = jax.jit(lambda p, t: landed.forward(p, t, config))(params, random_tokens(config))[1]
    trace = trace.bind(params)
    return trace, landed.attribute(trace, 3)


def rounding_bound(trace: Any, params: Any) -> np.ndarray:
    """What the rounded products with W_O and W_down can add to a logit, position by position.

    A factor is rounded by at most u of itself, so a product of two by 2u + u²; each sum along the way to the logit is
    bounded by the sum of its terms' sizes. The writes themselves are computed of the factors that were recorded.
    """
    config = trace.config
    gain = params["final_norm"]["gamma"] * unembedding(params, config)[3]
    heard = np.abs(np.asarray(gain, np.float64)) / np.asarray(trace.sigma[-1], np.float64)[..., None]
    size = np.zeros(heard.shape[:2])
    for layer in range(config.n_layers):
        part = params["layers"][str(layer)]
        z, a = (np.abs(np.asarray(trace[site][layer], np.float64)) for site in (HookPoint.HEAD, HookPoint.NEURON))
        W_O, W_down = (np.abs(np.asarray(w, np.float64)) for w in (part["attn"]["W_O"], part["mlp"]["W_down"]))
        size += np.einsum("bpm,mhi,bphi->bp", heard, W_O, z) + np.einsum("bpm,mj,bpj->bp", heard, W_down, a)
    return (2 * U + U**2) * size


def test_the_closure_error_is_the_forward_passes_rounding() -> None:
    params = random_params(SMALL)
    (single, exact), (narrow, coarse) = (traced(SMALL, params, bfloat16) for bfloat16 in (False, True))
    real = np.asarray(single.tokens.mask)
    errors = [np.asarray(found.closure_error)[real] for found in (exact, coarse)]
    assert np.all(errors[1] <= rounding_bound(narrow, params)[real] + 4 * np.max(errors[0]) + 1e-5)
    assert np.median(errors[1]) > 20 * np.max(errors[0])


def test_an_attribution_of_rounded_products_is_itself_not_rounded() -> None:
    params = random_params(SMALL)
    trace, found = traced(SMALL, params, True)
    gain = np.asarray(params["final_norm"]["gamma"], np.float64) * unembedding(params, SMALL)[3]
    heard = gain / np.asarray(trace.sigma[-1], np.float64)[..., None]
    W_O = np.stack([np.asarray(params["layers"][str(i)]["attn"]["W_O"], np.float64) for i in range(SMALL.n_layers)])
    expected = np.einsum("bpm,lmhi,lbphi->lbph", heard, W_O, np.asarray(trace[HookPoint.HEAD], np.float64))
    np.testing.assert_allclose(found.landed.heads, expected, rtol=1e-5, atol=1e-5)


def test_float64_closes(x64: None) -> None:
    model = Model(SMALL, random_params(SMALL, dtype=jnp.float64)).with_precision("float64")
    found = landed.attribute(model.trace(random_tokens(SMALL)), 3)
    assert float(jnp.max(found.closure_error)) < 1e-12
    assert found.to_xarray().attrs["precision"] == "float64"


def test_results_say_their_precision(tmp_path: Path) -> None:
    config = dataclasses.replace(SMALL, bfloat16_products=True)
    params, ids = random_params(SMALL), jnp.array([[1, 5, 7], [2, 3, 4]])

    def asked(params: Any, ids: jax.Array) -> Any:
        return landed.attribute(landed.forward(params, ids, config)[1].bind(params), 3)

    assert jax.jit(asked)(params, ids).to_xarray().attrs["precision"] == "bfloat16"
    mapped = jax.jit(jax.vmap(lambda row: asked(params, row[None])))(ids)
    assert mapped.known.config.bfloat16_products
    model = Model(SMALL, params)
    for precision in ("bfloat16", "float32"):
        shares = landed.attribute(model.with_precision(precision).trace(ids), 3)
        shares.save(tmp_path / "shares.nc")
        assert load_result(tmp_path / "shares.nc").attrs["precision"] == precision


def test_the_command_says_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "rome.nc"
    found = {}
    for precision in ("float32", "bfloat16"):
        asked = ["run", PROMPT, "--precision", precision, "--out", str(out), "--json", "-"]
        assert status_of(asked) == 0
        found[precision] = json.loads(capsys.readouterr().out)
        assert found[precision]["precision"] == load_result(out).attrs["precision"] == precision
    assert found["bfloat16"]["closure_error"] > 10 * found["float32"]["closure_error"]
    assert status_of(["run", PROMPT, "--precision", "float16"]) == 2
    assert status_of(["run", PROMPT, "--precision", "float64"]) == 2
    assert "JAX_ENABLE_X64=1" in capsys.readouterr().err


def test_a_study_says_it_and_is_run_again_by_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text(f"{PROMPT}\nOnce upon a time\n")
    store, asked = str(tmp_path / "store"), ["study", str(tmp_path / "prompts.txt"), "--keep", "attribution"]
    assert status_of([*asked, "--out", store, "--precision", "bfloat16"]) == 0
    assert landed.studies.opened(store).manifest["precision"] == "bfloat16"
    capsys.readouterr()
    assert status_of([*asked, "--out", store]) == 2
    assert 'settings: precision is "float32" here and "bfloat16" there' in capsys.readouterr().err
    assert status_of(["rerun", store]) == 0


def test_a_precision_changes_no_weights(tmp_path: Path) -> None:
    model, prompts = tiny(), prompts_of(3)
    narrow = model.with_precision("bfloat16")
    manifests = [landed.study(one, prompts, ["attribution"]).manifest for one in (model, narrow)]
    assert [one["precision"] for one in manifests] == ["float32", "bfloat16"]
    assert manifests[0]["model"]["weights"] == manifests[1]["model"]["weights"]
    narrow.save(tmp_path / "native")
    assert landed.load(tmp_path / "native").config == model.config == narrow.with_precision("float32").config
    assert landed.ModelConfig.from_dict(narrow.config.to_dict()) == narrow.config != model.config


@pytest.mark.parametrize("precision", ["float16", "highest", None, 32, jnp.bfloat16])
def test_others_are_refused(precision: Any) -> None:
    with pytest.raises(LandedError, match="is not one of float32, bfloat16, float64"):
        tiny().with_precision(precision)


def test_what_jax_does_not_compute_in_is_refused(x64: None) -> None:
    with pytest.raises(LandedError, match="unset it, or give dtype='float32'"):
        tiny().with_precision("float32")
    with jax.enable_x64(False), pytest.raises(LandedError, match="JAX_ENABLE_X64=1"):
        tiny().with_precision("float64")
    with pytest.raises(LandedError, match="precision='float16'"):
        landed.load(precision="float16")


def test_a_stream_in_bfloat16_is_refused() -> None:
    with pytest.raises(LandedError, match=r"precision.*bfloat16"):
        tiny().trace([[1, 2]], dtype="bfloat16")
