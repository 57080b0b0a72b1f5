"""Amplification by its definitions, in NumPy, and traces of models whose gains are spread wide."""

import dataclasses
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

import landed_jax as landed
from landed_jax import Trace
from landed_jax.analysis.scale._spread import PERCENTILES, Spread
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import stack_layers
from tests.models import CONFIGS, SMALL, random_params, random_tokens
from tests.reference.landed import Written, heard
from tests.reference.numpy_model import numpy_forward

# Neurons of 0, and a head whose output weights are 0, are writes of nothing, and are no samples.
CASES = CONFIGS | {"silent": dataclasses.replace(SMALL, activation="relu2")}
DELIMITERS = (0, 2, 4, 6, 8, 10, 12)
BOTH = ("write_weighted", "norm_ratio")
run = jax.jit(landed.forward, static_argnames=("config", "record", "dtype"))


@cache
def traced(name: str, dtype: str = "float32", stacked: bool = False, at: tuple[int, ...] | None = None) -> Trace:
    params = random_params(CASES[name], dtype=jnp.dtype(dtype))
    # Gains are spread wider than usual, or no amplification would be above 10.
    params = jax.tree_util.tree_map_with_path(lambda path, v: v * 3 if path[-1].key == "gamma" else v, params)
    if name == "silent":
        first = params["layers"]["0"]["attn"]
        first["W_O"] = first["W_O"].at[:, 1].set(0)
    params = stack_layers(params) if stacked else params
    columns = None if at is None else jnp.asarray(at)
    _, trace = run(params, random_tokens(CASES[name], lengths=(7, 4)), CASES[name], at=columns)
    return trace.bind(params)


def reference(name: str) -> tuple[Trace, dict[str, np.ndarray]]:
    trace = traced(name, "float64")
    return trace, numpy_forward(trace.params, trace.tokens.ids, trace.tokens.mask, CASES[name])


def magnified(
    written: Written, numbers: dict[str, np.ndarray], config: ModelConfig, b: int, p: int
) -> dict[str, np.ndarray]:
    """Each write's amplification at its next landing, both definitions, NaN for a write of zeros."""
    vectors = heard(written.vectors, config)
    scale = np.abs(numbers["gamma"][written.sites]) / numbers["sigma"][written.sites, b, p][:, None]
    length = np.linalg.norm(vectors, axis=1)
    with np.errstate(invalid="ignore"):
        shares = vectors**2 / length[:, None] ** 2
        ratio = np.linalg.norm(vectors * scale, axis=1) / length
    return {"write_weighted": (shares * scale).sum(1), "norm_ratio": ratio}


def check_spread(found: Spread, place: tuple[int, ...], samples: np.ndarray) -> None:
    assert int(found.count[place]) == samples.size
    statistics = [found.minimum, found.maximum, found.above_2, found.above_10]
    if not samples.size:
        assert all(np.isnan(statistic[place]) for statistic in statistics) and np.isnan(found.quantiles[place]).all()
        return
    expected = [samples.min(), samples.max(), (samples > 2).mean(), (samples > 10).mean()]
    np.testing.assert_allclose([statistic[place] for statistic in statistics], expected, rtol=1e-9)
    np.testing.assert_allclose(found.quantiles[place], np.percentile(samples, PERCENTILES), rtol=1e-9)
    np.testing.assert_array_equal(found.median[place], found.quantiles[place][2])
