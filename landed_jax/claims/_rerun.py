"""Claims measured again, and how far their values are from those of a document that is stored."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from landed_jax.claims._reproduce import (
    IN_PYTHON,
    OWN_PROMPTS,
    STANDARD_INPUT,
    Measured,
    Progress,
    Reproduction,
    reproduce,
)
from landed_jax.errors import LandedError
from landed_jax.manifest import differences
from landed_jax.model import Model, Prompts
from landed_jax.reruns import ROUNDINGS, Difference, Rerun, apart


@dataclass(frozen=True)
class ClaimsRerun(Rerun):
    """Claims beside the same ones measured again.

    Attributes:
        now: as they came out.
    """

    now: Reproduction


def rerun(
    document: Mapping[str, Any], model: Model, prompts: Prompts | None = None, *, progress: Progress | None = None
) -> ClaimsRerun:
    """Measure the claims of a document of `Reproduction.to_dict` again, and compare.

    A value may differ by its distance to the nearer end of its stored interval, and by float rounding.

    Args:
        prompts: those of the document, where it was measured on others than the package's own.
        progress: called with the number of finished prompts and of all.

    Raises:
        LandedError: for what is no such document, and where its prompts are needed.

    >>> import landed_jax as landed
    >>> model = landed.load()
    >>> before = landed.claims.reproduce(model, count=4, claims=["same scale"]).to_dict()
    >>> rerun(before, model).same
    True
    """
    asked, rows = _of(document)
    if prompts is None and asked["prompts"]["source"] != OWN_PROMPTS:
        raise LandedError("These claims were not measured on the package's own prompts: give theirs.")
    now = reproduce(
        model,
        prompts,
        claims=asked["claims"],
        count=asked["prompts"]["count"],
        seed=asked["prompts"]["seed"],
        progress=progress,
        source=asked["prompts"]["source"],
        command=asked["command"],
    )
    made = differences(asked, now.manifest)
    measured = {(one.claim.name, one.reading.name): one for one in now.measured}
    if measured.keys() != rows.keys():
        raise LandedError("The readings of these claims are others now, so there is nothing to compare.")
    found = [_difference(row, measured[name], asked["dtype"]) for name, row in rows.items()]
    return ClaimsRerun(max(one.prompts for one in now.measured), made, found, now)


def prompts_file(document: Mapping[str, Any]) -> str | None:
    """The file of a document's prompts; None where they are the package's own.

    Raises:
        LandedError: for what is no such document, and prompts that are in no file.
    """
    source = _of(document)[0]["prompts"]["source"]
    if source in (IN_PYTHON, STANDARD_INPUT):
        raise LandedError(f"The prompts of these claims are in no file ({source}), so they cannot be measured again.")
    return None if source == OWN_PROMPTS else source


def _of(document: Mapping[str, Any]) -> tuple[dict[str, Any], dict[tuple[str, str], dict[str, Any]]]:
    """The manifest, and the readings by their names."""
    try:
        asked = {name: document["manifest"][name] for name in ("claims", "dtype", "command", "model", "prompts")}
        asked["prompts"] = {name: asked["prompts"][name] for name in ("source", "count", "seed", "digest")}
        rows = {
            (row["claim"], row["reading"]): {"value": row["value"], "interval": row["interval"]}
            for row in document["readings"]
        }
    except (KeyError, TypeError) as error:
        why = f" It lacks {error}." if isinstance(error, KeyError) else ""
        raise LandedError(f"This is no document of `landed reproduce --json`, or a damaged one.{why}") from None
    return document["manifest"], rows


def _difference(row: Mapping[str, Any], now: Measured, dtype: str) -> Difference:
    before = np.array([row["value"], *row["interval"]], np.float64)  # null becomes NaN
    far = apart(before, np.array([now.value, now.low, now.high]))
    value, low, high = before
    rounding = ROUNDINGS * float(np.finfo(dtype).eps) * abs(value)
    bar = 0.0 if np.isnan(before).any() else min(value - low, high - value) + rounding
    return Difference(now.reading.name, float(far.max()), float(bar), far.size, int(np.count_nonzero(far)))
