"""One write of 0.001: what it lands as early and late."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from landed_jax.analysis.scale._amplification import amplification
from landed_jax.claims._claim import ODONNELL, Claim, Reading, Rows, mean_of_known, only_of
from landed_jax.claims._positions import later, mean_over
from landed_jax.model import Model
from landed_jax.nn.config import ModelConfig
from landed_jax.trace import Trace

_WRITE = 0.001
_LAYER = 2
_EARLY, _LATE = ("early", "attention layer 2"), ("late", "the last attention layer")
_NEAR = 0.1  # of the published figure
_MISTRAL = only_of("Mistral-7B", n_layers=32, d_model=4096, d_ff=14336, vocab_size=32000)


def _measure(model: Model, trace: Trace) -> Mapping[str, Rows]:
    found, depth = amplification(trace), trace.config.n_layers
    sites = [trace.order.index(f"{layer}.attn") for layer in (min(_LAYER, depth - 1), depth - 1)]
    parts = (found.median, found.maximum)
    early, late = (
        np.stack([np.asarray(mean_over(part[site : site + 1], later(trace)))[:, 0] for part in parts], axis=-1)
        for site in sites
    )
    return {"early": early, "late": late, "both": np.concatenate([early, late], axis=-1)}


def _lands_as(place: int, rows: Rows) -> float:
    return float(_WRITE * mean_of_known(rows[:, place]))


def _ratio(rows: Rows) -> float:
    return float(mean_of_known(rows[:, 0]) / mean_of_known(rows[:, 2]))


def _near(published: float) -> Callable[[float], bool]:
    return lambda value: abs(value / published - 1) <= _NEAR


def _readings(config: ModelConfig) -> tuple[Reading, ...]:
    kinds = ("median coordinate", "largest coordinate")
    return (
        *(
            Reading(
                f"a write of 0.001 at {where}, {kind}",
                str(published),
                name,
                partial(_lands_as, place),
                _near(published),
                applies=_MISTRAL,
            )
            for name, where, published in ((*_EARLY, 0.176), (*_LATE, 0.0058))
            for place, kind in enumerate(kinds)
        ),
        Reading(f"{_EARLY[1]} over {_LATE[1]}, median coordinate", "30", "both", _ratio, _near(30.3), "×", _MISTRAL),
    )


CLAIM = Claim(
    "one write",
    "a write of 0.001 lands as 0.176 at attention layer 2 of Mistral-7B, and as 0.0058 at layer 31",
    ODONNELL,
    _measure,
    _readings,
)
