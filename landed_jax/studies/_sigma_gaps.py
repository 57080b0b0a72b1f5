"""What a study kept under ``sigma_gap`` as NMAE and correlation: by measure, component, layer and size."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from landed_jax.errors import LandedError
from landed_jax.intervals import LEVEL, resampled_means
from landed_jax.results.measures import COMPONENTS, MEASURES
from landed_jax.studies._study import Study
from landed_jax.studies.keeps.sigma_gap import MOMENTS, SUMS

QUARTERS = ("smallest quarter", "second quarter", "third quarter", "largest quarter")
"""Of the prompts, by the size of the logit difference."""
_DIFFERENCE = MEASURES.index("logit difference")
# Of float32 numbers that are all the same, rounding leaves up to 1e-6 of their size: the spread is the square of that.
_NO_SPREAD = 1e-12
# Two numbers have r = ±1. Of 4 prompts a third of the resamples hold no more than two, of 8 one in 2,000.
_FEWEST = 8
_DEFINED = 0.9  # of the resamples


class Estimate(NamedTuple):
    """A number with its interval over prompts, by the bootstrap; each nan where it is not defined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class SigmaGap:
    """How far landed contributions (σ frozen) are from direct effects (σ live), over some components.

    Attributes:
        measure: one of `MEASURES`.
        component: one of `COMPONENTS`.
        layer: whose components; None for those of all layers together.
        among: which prompts: ``"all"``, or a quarter of `QUARTERS`.
        prompts: how many these are.
        size: the median of the value's size over them.
        nmae: ``Σ |landed − effect| / Σ |effect|``, both sums over the components and the prompts; nan without effects.
        correlation: Pearson's, over the same; nan where either is the same everywhere but for rounding.
    """

    measure: str
    component: str
    layer: int | None
    among: str
    prompts: int
    size: float
    nmae: Estimate
    correlation: Estimate


def sigma_gaps(study: Study, *, level: float = LEVEL, seed: int = 0) -> list[SigmaGap]:
    """How far landed contributions are from direct effects, of a study that kept ``sigma_gap``.

    Of every measure and kind of component: all layers together, then each; of the logit difference also by quarters of
    the prompts, from the smallest differences to the largest. Sums are pooled before they are divided, and prompts are
    drawn again whole for the intervals. An interval is over the resamples in which its number is defined, and nan where
    more than a tenth of them are without. A correlation has none over fewer than 8 prompts.

    Args:
        level: of the intervals.
        seed: of the bootstrap.

    Raises:
        LandedError: for a study that kept something else, and a level that is not between 0 and 1.

    References:
        Efron & Tibshirani, An Introduction to the Bootstrap, 1993.

    >>> import jax, landed_jax as landed
    >>> sizes = dict(vocab_size=11, d_model=8, n_layers=1, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> config = landed.ModelConfig(**sizes)
    >>> model = landed.Model(config, landed.init_params(config, jax.random.key(0)))
    >>> found = landed.study(model, [[1, 5, 7], [3]], ["sigma_gap"])
    >>> first = landed.studies.sigma_gaps(found)[0]
    >>> first.measure, first.component, first.layer, first.prompts
    ('logit', 'heads', None, 2)
    """
    if "sigma_gap" not in study.manifest["keep"]:
        raise LandedError('This study kept no "sigma_gap": keep it, and ask again.')
    if not 0 < level < 1:
        raise LandedError(f"A confidence level lies between 0 and 1, not at {level}.")
    if not study.rows:  # not one prompt
        return []
    there = study.rows["reason"] == 0
    values, sums = np.abs(study.rows["sigma_gap.value"][there]), _sums(study, there)
    found = list(_rows(values, sums, "all", level, seed)) if len(values) else []
    if len(values) >= len(QUARTERS):
        order = np.argsort(values[:, _DIFFERENCE], kind="stable")
        for name, members in zip(QUARTERS, np.array_split(order, len(QUARTERS)), strict=True):
            rows = _rows(values[members], sums[members], name, level, seed)
            found += [row for row in rows if row.layer is None and row.measure == MEASURES[_DIFFERENCE]]
    return found


def _sums(study: Study, there: np.ndarray) -> Float[np.ndarray, "prompt sum measure component cell"]:
    """Σ|landed − effect|, Σ|effect|, and the counts and raw sums of both; the first cell is of all layers."""
    config = study.config
    counts = np.array([config.n_heads, config.n_neurons, 1], np.float64)[:, None]
    rows = {name: study.rows[f"sigma_gap.{name}"][there].astype(np.float64) for name in SUMS}
    mean_e, mean_m, spread_e, spread_m, covariance = (rows[name] for name in MOMENTS)
    raw = (mean_e, mean_m, spread_e / counts + mean_e**2, spread_m / counts + mean_m**2)
    raw = (np.ones_like(mean_e), *raw, covariance / counts + mean_e * mean_m)
    each = np.stack([rows["error"], rows["size"], *(counts * part for part in raw)], axis=1)
    return np.concatenate([each.sum(axis=-1, keepdims=True), each], axis=-1)


def _rows(
    values: Float[np.ndarray, "prompt measure"],
    sums: Float[np.ndarray, "prompt sum measure component cell"],
    among: str,
    level: float,
    seed: int,
) -> Iterator[SigmaGap]:
    own = _ratios(sums.mean(axis=0)[..., None])[..., 0]
    drawn = _ratios(resampled_means(np.moveaxis(sums, 0, -1), seed=seed))
    defined = ~np.isnan(own) & (np.mean(~np.isnan(drawn), axis=-1) >= _DEFINED)
    defined[1] &= len(values) >= _FEWEST
    # 0 in place of what is not looked at: NumPy warns where all are nan.
    bounds = np.nanquantile(np.where(defined[..., None], drawn, 0), [(1 - level) / 2, (1 + level) / 2], axis=-1)
    low, high = np.where(defined, bounds, np.nan)
    sizes = np.median(values, axis=0)
    for m, measure in enumerate(MEASURES):
        for c, component in enumerate(COMPONENTS):
            for cell in range(own.shape[-1]):
                nmae, correlation = (
                    Estimate(*(float(part[which, m, c, cell]) for part in (own, low, high))) for which in (0, 1)
                )
                layer = cell - 1 if cell else None
                yield SigmaGap(measure, component, layer, among, len(values), float(sizes[m]), nmae, correlation)


def _ratios(sums: Float[np.ndarray, "sum *cell"]) -> Float[np.ndarray, "two *cell"]:
    """NMAE and correlation; nan where nothing was measured, or does not vary."""
    error, size, count, of_e, of_m, of_ee, of_mm, of_em = sums
    spread_e, spread_m = (_spread(one, squares, count) for one, squares in ((of_e, of_ee), (of_m, of_mm)))
    covariance = of_em - of_e * of_m / count
    return np.stack([error / np.where(size > 0, size, np.nan), covariance / np.sqrt(spread_e * spread_m)])


def _spread(total: np.ndarray, squares: np.ndarray, count: np.ndarray) -> np.ndarray:
    spread = squares - total**2 / count
    return np.where(spread > _NO_SPREAD * squares, spread, np.nan)
