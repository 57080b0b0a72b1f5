"""`--coordinates`: counts of coordinates in the model's basis and in random ones, outliers, and an ablation of them."""

from typing import TYPE_CHECKING, Any

from landed_jax.report.percents import PERCENTS
from landed_jax.report.sections.section import Asked, Section

if TYPE_CHECKING:
    from rich.console import RenderableType

    from landed_jax.report.account import Account

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


def _table(account: "Account", found: dict[str, Any], document: dict[str, Any]) -> "RenderableType":
    from rich.console import Group
    from rich.text import Text

    from landed_jax.report.plain_table import table_of

    table = table_of(
        f"Coordinates of {account.config.d_model}, by size, that reach the value",
        "counted",
        *(f"{p} %" for p in PERCENTS),
    )
    table.add_row("first reached", *map(str, account.coordinate_counts.values()))
    table.add_row("reached for good", *map(str, document["settled"].values()))
    rotated = document["rotated"]
    pairs = zip(rotated["settled_mean"].values(), rotated["settled_spread"].values(), strict=True)
    table.add_row(
        f"for good, {rotated['rotations']} random bases", *(f"{mean:.1f} ± {spread:.1f}" for mean, spread in pairs)
    )
    outlying = document["outliers"]
    table.add_row("for good, outliers left out", *map(str, outlying["settled_without"].values()))
    number = len(outlying["coordinates"])
    table.caption = (
        "for good: from there on the rest stays within the other part; random bases are the control\n"
        f"outliers: {number} coordinates above {outlying['multiple']:g} × the median, {outlying['contribution']:+.4f}"
    )
    check = document["causal_check"]
    causal = table_of(
        f"The {check['coordinates']} coordinates that reach {100 * CHECKED:.0f} %",
        "landed stream",
        "value",
        "rank of the target",
    )
    for name, title in (("whole", "whole"), ("kept", "those alone"), ("ablated", "all others")):
        rank = check[name]["rank"]
        causal.add_row(title, f"{check[name]['value']:+.4f}", "" if rank is None else str(rank))
    return Group(table, Text(), causal)


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
