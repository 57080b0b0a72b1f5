"""Nearly all writes are amplified by more than 2, most by more than 10."""

from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from landed_jax.analysis.scale._amplification import amplification
from landed_jax.analysis.scale._write_amplification import DEFINITIONS, write_amplification
from landed_jax.claims._claim import ODONNELL, Claim, Reading, Rows
from landed_jax.claims._positions import first, later
from landed_jax.model import Model
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.per_write import PerWrite
from landed_jax.numerics import compute_dtype
from landed_jax.trace import Trace

_BOUNDS = {2: (98.8, "98.8"), 10: (81.2, "81.2")}
# What a share is of: its name here, and in words.
_SAMPLES = {
    "norm_ratio": "heads' and neurons' writes, length heard over length written",
    "write_weighted": "the same writes, mean |γ|/σ weighted by what they write",
    "coordinates": "|γ|/σ of every coordinate at every norm",
    "scale": "1/σ at every norm (γ folded into the weights)",
    "relative": "median |γ|/σ at a norm over that at the final norm",
    "relative scale": "σ of the final norm over σ of a norm before it",
    "first": "length heard over length written, at first tokens alone",
}


def _measure(model: Model, trace: Trace) -> Mapping[str, Rows]:
    by_write = {name: write_amplification(trace, name).by_write for name in DEFINITIONS}
    counted = {name: _counts(found, later(trace)) for name, found in by_write.items()}
    counted["first"] = _counts(by_write["norm_ratio"], first(trace))
    scale = amplification(trace)
    counted["coordinates"], counted["scale"] = _of_norms(scale.gamma, scale.sigma, later(trace))
    for name, at_norms in (("relative", scale.median), ("relative scale", 1 / scale.sigma)):
        counted[name] = _above(at_norms[:-1] / at_norms[-1:], later(trace)[None], (0, 2))
    return {name: np.asarray(counts) for name, counts in counted.items()}


@jax.jit
def _counts(found: PerWrite, chosen: jax.Array) -> jax.Array:
    """``[batch, 3]``: how many writes there are, how many above 2 and above 10."""
    parts = [_above(getattr(found, name), chosen[None, ..., None], (0, 2, 3)) for name in ("heads", "neurons")]
    return sum(parts[1:], parts[0])


def _above(values: jax.Array, chosen: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    there = chosen & (values > 0)  # 0: nothing was written
    kept = [there, *(there & (values > bound) for bound in _BOUNDS)]
    return jnp.stack([jnp.sum(part, axis=axes, dtype=compute_dtype(None)) for part in kept], axis=-1)


@jax.jit
def _of_norms(gamma: jax.Array, sigma: jax.Array, chosen: jax.Array) -> tuple[jax.Array, jax.Array]:
    def of_site(site: tuple[jax.Array, jax.Array]) -> jax.Array:
        own, scale = site
        return _above(jnp.abs(own)[None, None] / scale[..., None], chosen[..., None], (1, 2))

    coordinates = jnp.sum(jax.lax.map(of_site, (gamma, sigma)), axis=0)
    return coordinates, _above(1 / sigma, chosen[None], (0, 2))


def _share(place: int, rows: Rows) -> float:
    counts = rows.sum(axis=0)
    return float(100 * counts[place] / counts[0]) if counts[0] else float("nan")


def _at_least(bound: float, value: float) -> bool:
    return value >= bound


def _readings(config: ModelConfig) -> tuple[Reading, ...]:
    return tuple(
        Reading(
            f"above {bound} ×: {words}",
            f"{text} %",
            name,
            partial(_share, place),
            partial(_at_least, share),
            "%",
        )
        for place, (bound, (share, text)) in enumerate(_BOUNDS.items(), start=1)
        for name, words in _SAMPLES.items()
    )


CLAIM = Claim(
    "amplified writes",
    "98.8 % of writes are amplified by more than 2 ×, 81.2 % by more than 10 ×",
    ODONNELL,
    _measure,
    _readings,
)
