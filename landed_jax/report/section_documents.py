"""The closer sections of a run as plain values."""

from collections.abc import Callable
from typing import Any

import numpy as np

from landed_jax.report.account import Account
from landed_jax.report.sections import (
    CHECKED,
    MEASURES,
    OUTLIER_MULTIPLE,
    PERCENTS,
    CoordinateDetail,
    Effects,
    Lens,
    Sources,
)
from landed_jax.report.sections import number as plain

NAMES = {"by_source": "by_source", "effects": "effects", "coordinates": "coordinate_detail", "lens": "lens"}
"""The JSON object's field for each section."""


def section_document(account: Account) -> dict[str, Any]:
    """The fields that the switches of ``landed run`` add to the JSON object."""
    makers: dict[str, Callable[[Account, Any], Any]] = {
        "by_source": _by_source,
        "effects": _effects,
        "coordinates": _coordinates,
        "lens": _lens,
    }
    return {NAMES[name]: makers[name](account, found) for name, found in account.sections.items()}


def _by_source(account: Account, found: Sources) -> dict[str, Any]:
    return {
        "tokens": np.asarray(found.picture.overall[0, 0], float).tolist(),
        "heads": np.asarray(found.heads[:, 0, 0], float).tolist(),
        "closure_error": float(found.picture.overall_closure_error[0, 0]),
    }


def _effects(account: Account, found: Effects) -> dict[str, Any]:
    def agreement(part: Any) -> dict[str, float | None]:
        return {"nmae": plain(part.nmae[0, 0]), "correlation": plain(part.correlation[0, 0])}

    fields = ("kind", "layer", "index", "mediated", "landed", "ratio", "weak", "score", "sigma_share")
    other = None if found.against is None else int(found.against[0, 0])
    return {
        "against": None if other is None else {"id": other, "text": account.vocabulary.text(other)},
        "landed_against_direct": {
            name: {"heads": agreement(measure.heads), "neurons": agreement(measure.neurons)}
            for name in MEASURES  # JAX gives a dictionary back in the order of its keys
            if (measure := found.faithfulness.get(name)) is not None
        },
        "volume_of": "centred logit" if account.attribution.against is None else "logit difference",
        "volume": [{field: getattr(row, field) for field in fields} for row in found.volume.top(10)],
    }


def _coordinates(account: Account, found: CoordinateDetail) -> dict[str, Any]:
    def counts(values: Any) -> dict[str, Any]:
        return {f"for_{percent}": value for percent, value in zip(PERCENTS, values, strict=True)}

    rotated, outlying, check = found.rotated, found.outliers, found.check
    means, spreads = np.asarray(rotated.settled_mean)[:, 0, 0], np.asarray(rotated.settled_spread)[:, 0, 0]
    return {
        "settled": counts([int(count[0, 0]) for count in found.settled]),
        "rotated": {
            "rotations": rotated.samples,
            "settled_mean": counts(means.astype(float).tolist()),
            "settled_spread": counts(spreads.astype(float).tolist()),
        },
        "outliers": {
            "multiple": OUTLIER_MULTIPLE,
            "coordinates": np.flatnonzero(np.asarray(outlying.outlying[0, 0])).tolist(),
            "contribution": float(outlying.contribution[0, 0]),
            "settled_without": counts([int(outlying.without.settled_count(p / 100)[0, 0]) for p in PERCENTS]),
        },
        "causal_check": {
            "fraction": CHECKED,
            "coordinates": int(check.count[0, 0]),
            **{
                name: {"value": float(part.value[0, 0]), "rank": None if part.rank is None else int(part.rank[0, 0])}
                for name, part in (("whole", check.whole), ("kept", check.kept), ("ablated", check.ablated))
            },
        },
    }


def _lens(account: Account, found: Lens) -> list[dict[str, Any]]:
    rows = []
    for i, (site, group) in enumerate(zip(found.values.sites, found.values.groups, strict=True)):
        token = int(found.tokens.ids[i, 0, 0, 0])
        rows.append(
            {
                "site": site,
                "own_sigma": float(found.values.own_sigma[i, 0, 0]),
                "final_sigma": float(found.values.final_sigma[i, 0, 0]),
                "written_before": group,
                "landed": float(found.values.final_sigma_contributions[i, 0, 0]),
                "top": {"id": token, "text": account.vocabulary.text(token)},
            }
        )
    return rows
