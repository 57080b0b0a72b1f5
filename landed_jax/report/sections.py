"""What a run adds when it is asked to look closer: sources, effects, coordinates, the lens."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from landed_jax.analysis.attribution.faithfulness import Faithfulness, faithfulness
from landed_jax.analysis.attribution.log_probability import attribute_log_probability
from landed_jax.analysis.attribution.logit_lens import LensTokens, LogitLens, lens_top_tokens, logit_lens
from landed_jax.analysis.attribution.sources import attribute_by_source
from landed_jax.analysis.attribution.token_contributions import TokenContributions, token_contributions
from landed_jax.analysis.attribution.volume import Volume, volume
from landed_jax.analysis.coordinates.coordinate_check import CoordinateCheck, check_coordinates
from landed_jax.analysis.coordinates.coordinates import coordinates
from landed_jax.analysis.coordinates.outliers import Outliers, outliers
from landed_jax.analysis.coordinates.rotations import RotatedCounts, rotated_counts
from landed_jax.trace import Trace

SECTIONS = ("by_source", "effects", "coordinates", "lens")
PERCENTS = (50, 90, 99)
MEASURES = ("logit", "centred logit", "logit difference", "log-probability")
ROTATIONS = 8
OUTLIER_MULTIPLE = 20.0
CHECKED = 0.9


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Sources:
    """The heads' contributions by the token they attend to: all heads together, and each."""

    picture: TokenContributions
    heads: Float[Array, "layer batch position head source"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Effects:
    """How far landed contributions are from direct effects, by what is measured; and who acts through σ.

    Attributes:
        against: the token of the measured logit difference: what the run was given, or the runner-up.
        volume: of the centred logit, or of the difference that the run was given.
    """

    faithfulness: dict[str, Faithfulness]
    volume: Volume
    against: Int[Array, "batch position"] | None


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class CoordinateDetail:
    """Counts of coordinates in the model's basis and in random ones, outliers, and the causal check."""

    settled: Int[Array, "fraction batch position"]
    rotated: RotatedCounts
    outliers: Outliers
    check: CoordinateCheck


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Lens:
    """The value and the favoured token at every read site."""

    values: LogitLens
    tokens: LensTokens


@partial(jax.jit, static_argnums=3)
def look_closer(
    trace: Trace, target: jax.Array, against: jax.Array | None, wanted: frozenset[str], runner_up: jax.Array | None
) -> dict[str, Any]:
    """The sections that are wanted, in one compiled program.

    Args:
        target, against: ids ``[batch, position]`` of the value that the run accounts for.
        runner_up: the token to compare with where there is no `against`.
    """
    found: dict[str, Any] = {}
    if "by_source" in wanted:
        heads = attribute_by_source(trace, target, against)
        found["by_source"] = Sources(token_contributions(trace, target, against), heads)
    if "effects" in wanted:
        other = runner_up if against is None else against
        measures = {
            "logit": faithfulness(trace, target),
            "centred logit": faithfulness(trace, target, centred=True),
            "log-probability": attribute_log_probability(trace, target).faithfulness,
        }
        if other is not None:
            measures["logit difference"] = faithfulness(trace, target, other)
        found["effects"] = Effects(measures, volume(trace, target, against), other)
    if "coordinates" in wanted:
        mine = coordinates(trace, target, against)
        found["coordinates"] = CoordinateDetail(
            jnp.stack([mine.settled_count(percent / 100) for percent in PERCENTS]),
            rotated_counts(trace, target, against, key=jax.random.key(0), rotations=ROTATIONS),
            outliers(trace, target, against, multiple=OUTLIER_MULTIPLE),
            check_coordinates(trace, target, against, fraction=CHECKED),
        )
    if "lens" in wanted:
        found["lens"] = Lens(logit_lens(trace, target, against), lens_top_tokens(trace, 1))
    return found


def number(value: Any) -> float | None:
    """A plain number; None for one that is not finite, which JSON does not have."""
    plain = float(np.asarray(value))
    return plain if np.isfinite(plain) else None
