"""One pass that keeps everything, or two that keep little."""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from landed_jax.analysis.attribution._attribute import attribute
from landed_jax.analysis.reads._questions import Logit
from landed_jax.analysis.reduce._reductions import layer_sums
from landed_jax.claims._claim import ODONNELL, Claim, Reading, Rows, largest, within_rounding
from landed_jax.memory.estimates import attribution_bytes
from landed_jax.model import Model
from landed_jax.nn.config import ModelConfig
from landed_jax.trace import Trace

_LENGTH = 2048


def _measure(model: Model, trace: Trace) -> Mapping[str, Rows]:
    assert trace.logits is not None
    question = Logit(jnp.argmax(trace.logits, axis=-1)[:, -1:])
    whole = np.asarray(attribute(trace, question, effects=False).landed.heads)[:, :, -1]
    found = model.attribute_streaming(trace.tokens, layer_sums(), question, at=[-1], passes=2)
    apart = np.abs(np.asarray(found.reduced.heads)[:, :, 0] - whole).max(axis=(0, 2))
    return {"apart": (apart / np.abs(whole).max(axis=(0, 2)))[:, None]}


def _readings(config: ModelConfig) -> tuple[Reading, ...]:
    needed = attribution_bytes(config, length=_LENGTH)
    times = needed[1] / needed[2]
    return (
        Reading("heads by two passes against one: largest difference", "equal", "apart", largest, within_rounding),
        Reading(
            f"memory of one pass over that of two, {_LENGTH:,} tokens",
            "more",
            "apart",
            lambda rows: times,
            lambda value: value > 1,
            "×",
        ),
    )


CLAIM = Claim("passes", "one pass that is heavy on memory or two light ones suffice", ODONNELL, _measure, _readings)
