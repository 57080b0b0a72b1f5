"""The scale factors are the same for every prompt."""

from collections.abc import Mapping
from functools import partial

import numpy as np

from landed_jax.analysis.scale._amplification import amplification
from landed_jax.claims._claim import ODONNELL, Claim, Reading, Rows
from landed_jax.claims._positions import first, later, mean_over
from landed_jax.model import Model
from landed_jax.nn.config import ModelConfig
from landed_jax.trace import Trace

_SAME = 5.0  # per cent


def _measure(model: Model, trace: Trace) -> Mapping[str, Rows]:
    scale = 1 / amplification(trace).sigma
    last = later(trace) & (np.arange(trace.at.shape[0]) == trace.at.shape[0] - 1)[None]
    chosen = {"first": first(trace), "last": last, "mean": later(trace)}
    return {name: np.asarray(mean_over(scale, where)) for name, where in chosen.items()}


def _variation(quantile: float, rows: Rows) -> float:
    """A quantile over the norms of the coefficient of variation over prompts, in per cent."""
    with np.errstate(invalid="ignore"):
        known = rows[~np.isnan(rows).any(axis=1)].astype(np.float64)
    if len(known) < 2:
        return float("nan")
    return float(100 * np.quantile(known.std(axis=0, ddof=1) / known.mean(axis=0), quantile))


def _same(value: float) -> bool:
    return value <= _SAME


def _readings(config: ModelConfig) -> tuple[Reading, ...]:
    names = {
        "first": "at first tokens",
        "last": "at the last tokens",
        "mean": "mean over a prompt's tokens but the first",
    }
    sizes = ((0.5, "typical norm"), (1.0, "norm that varies most"))
    return tuple(
        Reading(f"1/σ {words}: variation, {which}", "the same", rows, partial(_variation, quantile), _same, "%")
        for rows, words in names.items()
        for quantile, which in sizes
    )


CLAIM = Claim(
    "same scale", "scale factors stay the same across prompts (here: within 5 %)", ODONNELL, _measure, _readings
)
