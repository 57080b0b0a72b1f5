"""`--coordinates`: counts of coordinates in the model's basis and in random ones, outliers, and an ablation of them."""

from typing import TYPE_CHECKING, Any

from landed_jax.report.percents import PERCENTS
from landed_jax.report.sections.section import Asked, Section

if TYPE_CHECKING:
    from landed_jax.report.account import Account
    from landed_jax.tables.table import Table

ROTATIONS = 8
OUTLIER_MULTIPLE = 20.0
CHECKED = 0.9  # the part of the value that the checked coordinates carry


def _compute(asked: Asked) -> dict[str, Any]:
    import jax
    import jax.numpy as jnp

    from landed_jax.analysis.basis._coordinate_check import check_coordinates
    from landed_jax.analysis.basis._coordinates import coordinates
    from landed_jax.analysis.basis._outliers import outliers
    from landed_jax.analysis.basis._rotations import rotated_counts

    trace, question = asked.trace, asked.question
    mine = coordinates(trace, question)
    return {
        "settled": jnp.stack([mine.settled_count(percent / 100) for percent in PERCENTS]),
        "rotated": rotated_counts(trace, question, key=jax.random.key(0), rotations=ROTATIONS),
        "outliers": outliers(trace, question, multiple=OUTLIER_MULTIPLE),
        "check": check_coordinates(trace, question, fraction=CHECKED),
    }


def _document(account: "Account", found: dict[str, Any]) -> dict[str, Any]:
    import numpy as np

    def counts(values: Any) -> dict[str, Any]:
        return {f"for_{percent}": value for percent, value in zip(PERCENTS, values, strict=True)}

    rotated, outlying, check = found["rotated"], found["outliers"], found["check"]
    means, spreads = np.asarray(rotated.settled_mean)[:, 0, 0], np.asarray(rotated.settled_spread)[:, 0, 0]
    return {
        "settled": counts([int(count[0, 0]) for count in found["settled"]]),
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


def _table(account: "Account", found: dict[str, Any], document: dict[str, Any]) -> "list[Table]":
    from landed_jax.tables.table import Column, Table

    rotated, outlying, check = document["rotated"], document["outliers"], document["causal_check"]
    means, spreads = ([f"{n:.1f}" for n in rotated[f"settled_{name}"].values()] for name in ("mean", "spread"))
    counts = Table(
        f"Coordinates of {account.config.d_model}, by size, that reach the value",
        [Column("counted", left=True, wrap=True), *(Column(f"{percent} %") for percent in PERCENTS)],
        [
            ["first reached", *map(str, account.coordinate_counts.values())],
            ["reached for good", *map(str, document["settled"].values())],
            [f"for good, mean of {rotated['rotations']} random bases", *means],
            ["standard deviation", *spreads],
            ["for good, outliers left out", *map(str, outlying["settled_without"].values())],
        ],
        notes=[
            "for good: from there on the rest stays within the other part; random bases are the control",
            _said_of(outlying),
        ],
    )
    ranks = (check[name]["rank"] for name in ("whole", "kept", "ablated"))
    causal = Table(
        f"The {check['coordinates']} coordinates that reach {100 * CHECKED:.0f} %",
        [
            Column("landed stream", left=True),
            Column("value"),
            Column("rank of\nthe target", legend="rank of the target: 0 is the likeliest token"),
        ],
        [
            [title, f"{check[name]['value']:+.4f}", "" if rank is None else str(rank)]
            for (name, title), rank in zip(
                (("whole", "whole"), ("kept", "those alone"), ("ablated", "all others")), ranks, strict=True
            )
        ],
    )
    return [counts, causal]


def _said_of(outlying: dict[str, Any]) -> str:
    size, number = f"above {outlying['multiple']:g} × the median", len(outlying["coordinates"])
    if not number:
        return f"outliers: no coordinate is {size}"
    return f"outliers: {number} {size}, which bring {outlying['contribution']:+.4f}"


SECTION = Section(
    name="coordinates",
    help="Also: the coordinates, random bases, outliers, a causal check.",
    compute=_compute,
    json_field="coordinate_detail",  # the account itself has a field "coordinates"
    document=_document,
    table=_table,
    axes={"settled": "fraction batch position"},
    coordinates={"fraction": [percent / 100 for percent in PERCENTS]},
    place=3,
)
