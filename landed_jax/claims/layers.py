"""Early layers amplify most, middle ones by 2 to 20, late ones hardly or compress."""

from collections.abc import Mapping
from functools import partial

import jax.numpy as jnp
import numpy as np

from landed_jax.analysis.scale._amplification import amplification
from landed_jax.claims._claim import ODONNELL, Claim, Reading, Rows, mean_of_known
from landed_jax.claims._positions import later, mean_over
from landed_jax.model import Model
from landed_jax.nn.config import ModelConfig
from landed_jax.trace import Trace

_EARLY = 4  # layers 0 to 3 of the claim's 32
_NEAR_ONE = 1.5


def _measure(model: Model, trace: Trace) -> Mapping[str, Rows]:
    median = amplification(trace).median
    return {"log": np.asarray(mean_over(jnp.log(median), later(trace)))}


def _typical(sites: slice, rows: Rows) -> float:
    """The geometric mean of the median |γ|/σ over sites and positions."""
    return float(np.exp(mean_of_known(rows[:, sites])))


def _over(sites: slice, others: slice, rows: Rows) -> float:
    return _typical(sites, rows) / _typical(others, rows)


def _above_one(value: float) -> bool:
    return value > 1


def _middle(value: float) -> bool:
    return 2 <= value <= 20


def _late(value: float) -> bool:
    return value <= _NEAR_ONE


def _too_few(config: ModelConfig) -> str:
    return "" if config.n_layers > 2 * _EARLY else f"the model has {config.n_layers} layers"


def _readings(config: ModelConfig) -> tuple[Reading, ...]:
    depth = config.n_layers
    eighth = max(1, round(depth * _EARLY / 32))
    of, found = "median |γ|/σ at the norms of", []
    for early, words, applies in (
        (min(_EARLY, depth), "layers 0–3", _too_few),
        (eighth, "the first eighth of the layers", lambda config: ""),
    ):
        # Two norms a layer; the final one reads behind the last.
        sites, others = slice(0, 2 * early), slice(2 * early, None)
        value = partial(_over, sites, others)
        found.append(Reading(f"{of} {words}, over later ones'", "largest", "log", value, _above_one, "×", applies))
    middle, late = slice(2 * eighth, 2 * max(depth - eighth, eighth + 1)), slice(2 * (depth - eighth), None)
    found.append(Reading(f"{of} the middle layers", "2–20", "log", partial(_typical, middle), _middle, "×"))
    name = f"{of} the last eighth and the final norm, at most {_NEAR_ONE}"
    found.append(Reading(name, "near 1", "log", partial(_typical, late), _late, "×"))
    return tuple(found)


CLAIM = Claim(
    "layers",
    "layers 0–3 amplify most, middle layers 2–20 ×, late layers compress or come near 1 ×",
    ODONNELL,
    _measure,
    _readings,
)
