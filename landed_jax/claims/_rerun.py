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

    A value, and each end of its interval, may differ by float rounding.

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
    made = differences(asked, now.manifest, called=("then", "now"))
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
        asked = document["manifest"]
        prompts, readings = asked["prompts"], document["readings"]
        rows = {(row["claim"], row["reading"]): row for row in readings}
        whole = all(
            [
                isinstance(asked["claims"], list)
                and asked["claims"]
                and all(isinstance(c, str) for c in asked["claims"]),
                asked["dtype"] in ("float32", "float64"),
                all(isinstance(text, str) for text in (asked["command"], asked["model"]["source"], prompts["source"])),
                all(type(prompts[name]) is int and 0 <= prompts[name] < 2**32 for name in ("count", "seed")),
                rows and all(map(_is_reading, readings)),
            ]
        )
    except (KeyError, TypeError) as error:
        why = f" It lacks {error}." if isinstance(error, KeyError) else ""
        raise LandedError(f"This is no document of `landed reproduce --json`, or a damaged one.{why}") from None
    if not whole:
        raise LandedError("This document of `landed reproduce --json` is damaged: a field is of another kind.")
    return asked, rows


def _is_reading(row: Mapping[str, Any]) -> bool:
    numbers = [row["value"], *row["interval"]]
    return len(numbers) == 3 and all(each is None or type(each) in (int, float) for each in numbers)


def _difference(row: Mapping[str, Any], now: Measured, dtype: str) -> Difference:
    before = np.array([row["value"], *row["interval"]], np.float64)  # null becomes NaN
    far = apart(before, np.array([now.value, now.low, now.high]))
    eps = float(np.finfo(dtype).eps)
    # Some readings are rounding errors themselves.
    bar = 0.0 if np.isnan(before).any() else eps * (ROUNDINGS * np.abs(before).max() + _NOISE)
    return Difference(now.reading.name, float(far.max()), float(bar), far.size, int(np.count_nonzero(far)))


_NOISE = 16  # units of rounding that a reading of about 0 may move by
