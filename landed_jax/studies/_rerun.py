"""A study run again, and how far its numbers are from those that are stored."""

import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from landed_jax.errors import LandedError
from landed_jax.files.kinds import expanded
from landed_jax.manifest import differences
from landed_jax.model import Model
from landed_jax.reruns import ROUNDINGS, Difference, Rerun, apart
from landed_jax.studies._merge import MERGED
from landed_jax.studies._sources import NOT_HERE
from landed_jax.studies._statistic import Statistic
from landed_jax.studies._store import Store
from landed_jax.studies._study import Study, Watch, opened, study


@dataclass(frozen=True)
class StudyRerun(Rerun):
    """A study beside the same one run again.

    Attributes:
        before: as it is stored.
        now: as it came out.
    """

    before: Study
    now: Study


def rerun(folder: str | Path, load: Callable[[str], Model], watch: Watch = lambda done, total: None) -> StudyRerun:
    """Run the study in a folder again, beside it, and compare.

    Args:
        load: gives the model that a study calls by this name.

    Raises:
        LandedError: for what is no finished study, and one whose prompts or reductions no name finds again.
    """
    store = Store.opened(expanded(folder).absolute())
    _, finished = store.load()
    if not finished:
        raise LandedError(f"The study in {store.folder} is not finished: give its command again first.")
    before, asked = opened(store.folder), store.manifest
    _check_again(store.folder, asked)
    prompts, model = asked["prompts"], load(asked["model"]["source"])
    with tempfile.TemporaryDirectory(prefix="landed-rerun-") as temporary:
        now = study(
            model.with_precision("bfloat16") if asked["precision"] == "bfloat16" else model,
            prompts["source"],
            asked["keep"],
            Path(temporary, "study"),
            column=prompts["column"],
            ids=prompts["ids"],
            count=prompts["count"],
            seed=prompts["seed"],
            position=asked["position"],
            add_special_tokens=asked["special_tokens"],
            dtype=asked["dtype"],
            watch=watch,
            command=asked["command"],
        )
        made = differences(before.manifest, now.manifest, called=("then", "now"))
        return StudyRerun(before.prompts, made, compared(before, now), before, now)


def compared(before: Study, now: Study) -> list[Difference]:
    """How far every variable's rows and means are apart.

    Raises:
        LandedError: for studies of another number of prompts, or that keep other things.
    """
    if before.prompts != now.prompts or before.statistics.keys() != now.statistics.keys():
        raise LandedError(
            f"The prompts are others now, so there is nothing to compare: {before.prompts:,} then, {now.prompts:,} now."
        )
    dtype, closure = before.manifest["dtype"], max(_closure(part) for part in (before, now))
    pairs: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for name, values in before.rows.items():
        pairs.setdefault(name, []).append((values, now.rows[name]))
    derived = []
    for name, part in before.statistics.items():
        theirs = now.statistics[name]
        pairs.setdefault(name, []).extend(
            (getattr(part.moments, which), getattr(theirs.moments, which)) for which in _MOMENTS
        )
        derived += _derived(
            name, part, theirs, _bar(name, [part.moments.minimum, part.moments.maximum], dtype, closure)
        )
    return [*(_difference(name, sides, dtype, closure) for name, sides in pairs.items()), *derived]


_MOMENTS = ("count", "mean", "deviation", "minimum", "maximum")


def _difference(name: str, sides: list[tuple[np.ndarray, np.ndarray]], dtype: str, closure: float) -> Difference:
    far = [apart(*side) for side in sides]
    exact = [side[0].dtype.kind in "iu" for side in sides]
    allowed = 0.0 if all(exact) else _bar(name, [side[0] for side in sides], dtype, closure)
    largest = [float(np.max(each, initial=0)) for each in far]
    counted = [each for each, whole in zip(largest, exact, strict=True) if whole and each > 0]
    worst = math.inf if counted and not all(exact) else max(largest)
    numbers, changed = sum(each.size for each in far), sum(int(np.count_nonzero(each)) for each in far)
    return Difference(name, worst, allowed, numbers, changed)


def _bar(name: str, values: list[np.ndarray], dtype: str, closure: float) -> float:
    """A contribution is as exact as the sum of all is; what is counted is the same or is not."""
    size = max(float(np.max(np.abs(_finite(each)), initial=0)) for each in values)
    return ROUNDINGS * float(np.finfo(dtype).eps) * size + (closure if name.startswith(_ACCOUNTED) else 0.0)


def _derived(name: str, mine: Statistic, theirs: Statistic, bar: float) -> list[Difference]:
    """What a rounding can move by more than itself: a sample into the next bucket, over a threshold, past its like."""
    found = []

    def compare(what: str, one: np.ndarray, other: np.ndarray, allowed: float) -> None:
        far = apart(one, other)
        found.append(
            Difference(f"{name}, {what}", float(np.max(far, initial=0)), allowed, far.size, int(np.count_nonzero(far)))
        )

    if mine.quantiles is not None and theirs.quantiles is not None:
        one, other = (np.stack([side.quantile(q) for q in (0.05, 0.5, 0.95)]) for side in (mine, theirs))
        compare("quantiles", one, other, bar + _BUCKETS * float(np.max(np.abs(_finite(one)), initial=0)))
    if (own := mine.share_above()) is not None and (other_share := theirs.share_above()) is not None:
        half = np.maximum(own[0] - own[1].low, own[1].high - own[0])
        compare("shares above", own[0], other_share[0], float(np.max(_finite(half), initial=0)))
    if mine.groups is not None and theirs.groups is not None:
        size = float(np.sqrt(np.max(_finite(mine.groups.variance_within + mine.groups.variance_between), initial=0)))
        for what in ("variance_within", "variance_between"):
            one, other = getattr(mine.groups, what), getattr(theirs.groups, what)
            compare(what.replace("_", " "), one, other, bar * (2 * size + bar))
    if mine.ranks is not None and theirs.ranks is not None:
        compare("rank correlation", mine.ranks.mean, theirs.ranks.mean, _SWAPS)
    return found


_BUCKETS = 0.02  # of a quantile: the width of a bucket of the sketch
_SWAPS = 1e-3  # of a rank correlation: numbers that are equal to rounding may change places
_ACCOUNTED = ("attribution.", "effects.", "top.", "lens.")


def _closure(found: Study) -> float:
    part = found.statistics.get("attribution.closure_error")
    return 0.0 if part is None or not part.moments.count else float(part.moments.maximum)


def _finite(values: np.ndarray) -> np.ndarray:
    wide = np.asarray(values, np.float64)
    return wide[np.isfinite(wide)]


def _check_again(folder: Path, asked: dict[str, Any]) -> None:
    source = asked["prompts"]["source"]
    if source == MERGED:
        raise LandedError(f"{folder} was merged: run its parts again.")
    if source in (NOT_HERE, "-"):
        where = "from standard input" if source == "-" else NOT_HERE
        raise LandedError(f"The prompts of {folder} were given {where}, so they are not here to be run again.")
