"""The order of programs, and the products: by the platform compiled for, and plain under ``LANDED_PLAIN=1``."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax.nn.products import contract_output, head_grams, linear
from landed_jax.nn.schedule import after, cast_late, computed_once
from tests.models import SMALL, random_params

WIDE, NARROW = jax.ShapeDtypeStruct((8, 6), jnp.float32), jax.ShapeDtypeStruct((9, 6), jnp.bfloat16)
# Functions of (x, narrow weight), and what only the tuned form's program has: of `after` the maximum over all numbers,
# of `computed_once` the comparison with −∞.
TUNED: dict[str, tuple[Callable, str]] = {
    "after": (lambda x, weight: after(x, weight * 2), "tensor<9x6xf32>"),
    "cast_late": (lambda x, weight: cast_late(weight, x * 2), "bitcast_convert"),
    "computed_once": (lambda x, weight: computed_once(jnp.cos, x * 2), "0xFF800000"),
    "linear": (lambda x, weight: linear(x, weight.astype(x.dtype)), "optimization_barrier"),
    "contract_output": (lambda x, weight: contract_output(x, jnp.ones((6, 2**18))), "optimization_barrier"),
    "head_grams": (lambda x, weight: head_grams(x.reshape(8, 3, 2)), "stablehlo.while"),
}


@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
@pytest.mark.parametrize("name", TUNED)
def test_the_form_is_that_of_the_platform_compiled_for(name: str, platform: str) -> None:
    function, word = TUNED[name]
    program = jax.export.export(jax.jit(lambda *given: function(*given)), platforms=[platform])(WIDE, NARROW)
    assert (word in program.mlir_module()) == (platform == "cpu")


@pytest.mark.xla
@pytest.mark.parametrize("shape", [(), (1, 1), (5,)])
@pytest.mark.parametrize("dtype", ["float32", "int32", "bool"])
def test_the_order_is_one_that_the_compiler_keeps(shape: tuple[int, ...], dtype: str) -> None:
    @jax.jit
    def tied(value: jax.Array, x: jax.Array) -> jax.Array:
        return after(value, jnp.abs(x) if dtype != "bool" else x)

    value, x = jnp.arange(3.0), jnp.ones(shape, dtype)
    assert "compare" in tied.lower(value, x).compile().as_text()
    np.testing.assert_array_equal(tied(value, x), value)
    for odd in (-jnp.inf, jnp.inf, jnp.nan):
        np.testing.assert_array_equal(after(value, jnp.full(shape, odd)), value)


@pytest.mark.slow
def test_the_plain_forms_give_the_same_numbers(tmp_path: Path) -> None:
    code = """
import sys
import jax.numpy as jnp, numpy as np
import landed_jax as landed
from tests.nn.test_schedule import numbers
np.savez(sys.argv[1], **numbers())
"""
    root = Path(__file__).parents[2]
    for plain in ("0", "1"):
        environment = {**os.environ, "LANDED_PLAIN": plain, "PYTHONPATH": str(root)}
        subprocess.run([sys.executable, "-c", code, str(tmp_path / f"{plain}.npz")], env=environment, check=True)
    tuned, plain = (np.load(tmp_path / f"{name}.npz") for name in ("0", "1"))
    assert set(tuned) == set(plain) and len(tuned) > 10
    for name in tuned:
        np.testing.assert_allclose(tuned[name], plain[name], rtol=1e-5, atol=1e-5, err_msg=name)


def numbers() -> dict[str, np.ndarray]:
    """What a model with narrow weights gives, by the forms that this process takes."""
    params = random_params(SMALL, dtype=jnp.bfloat16)
    trace = landed.Model(SMALL, params).trace([[1, 5, 2, 7], [3, 3]], record=landed.WRITES | landed.NORMED)
    streamed = landed.Model(SMALL, params).attribute_streaming([[1, 5, 2]], landed.reduce.everything(), passes=2)
    found = {
        "logits": trace.logits,
        "closure": landed.closure_error(trace).error,
        "streamed": streamed.reduced.landed.heads,
    }
    shares = landed.attribute(trace, 3)
    for kind in ("landed", "direct_effect", "sigma_share"):
        found |= {f"{kind}.{name}": getattr(getattr(shares, kind), name) for name in ("embedding", "heads", "neurons")}
    found["gains"] = landed.scale.write_amplification(trace, "norm_ratio").by_write.heads
    return {name: np.asarray(value) for name, value in found.items()}
