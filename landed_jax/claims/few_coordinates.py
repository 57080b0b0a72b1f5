"""A few dozen of thousands of coordinates carry a logit."""

from collections.abc import Mapping
from functools import partial

import jax
import numpy as np

from landed_jax.analysis.basis._coordinates import coordinates
from landed_jax.analysis.reads._questions import Logit
from landed_jax.claims._claim import ODONNELL, Claim, Reading, Rows
from landed_jax.model import Model
from landed_jax.nn.config import ModelConfig
from landed_jax.trace import Trace

_PART = 0.9
_FEW = (11, 90)
_WIDTH = 4096  # of the models that the claim is about


def _measure(model: Model, trace: Trace) -> Mapping[str, Rows]:
    assert trace.logits is not None
    ids = jax.lax.top_k(trace.logits, 2)[1]
    found = {}
    for name, question in (("logit", Logit(ids[..., 0])), ("difference", Logit(ids[..., 0], against=ids[..., 1]))):
        parts = coordinates(trace, question)
        found[name] = np.asarray(parts.count(_PART)[:, -1:])
        found[f"settled {name}"] = np.asarray(parts.settled_count(_PART)[:, -1:])
    return found


def _median(rows: Rows) -> float:
    return float(np.median(rows))


def _part(width: int, rows: Rows) -> float:
    return 100 * _median(rows) / width


def _few(low: float, high: float, value: float) -> bool:
    return low <= value <= high


def _readings(config: ModelConfig) -> tuple[Reading, ...]:
    first, settled = "until the sum first reaches 90 %", "until it stays within 10 %"
    names = {
        "logit": f"likeliest token's logit, {first}",
        "settled logit": f"likeliest token's logit, {settled}",
        "difference": f"its difference to the second, {first}",
        "settled difference": f"its difference to the second, {settled}",
    }
    low, high = (100 * few / _WIDTH for few in _FEW)
    part, share = partial(_part, config.d_model), partial(_few, low, high)
    published = f"{low:.1f}–{high:.1f} %"
    whole = [Reading(name, "11–90", rows, _median, partial(_few, *_FEW), "coordinates") for rows, name in names.items()]
    of_width = ("logit", "settled logit")
    return (*whole, *(Reading(f"{names[rows]}, of the width", published, rows, part, share, "%") for rows in of_width))


CLAIM = Claim("few coordinates", "11 to 90 coordinates of thousands carry a logit", ODONNELL, _measure, _readings)
