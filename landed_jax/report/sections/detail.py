"""`--detail`: every head's direct effect, each layer's largest neurons and groups, the largest coordinates."""

from typing import TYPE_CHECKING, Any

from landed_jax.report.sections.section import Asked, Section

if TYPE_CHECKING:
    import numpy as np

    from landed_jax.report.account import Account
    from landed_jax.tables.table import Table

_NEURONS = 16  # of each layer in the JSON
_GROUPS = 32  # of neurons in each layer, at most
_COORDINATES = 64  # in the JSON
_ROWS = 10  # coordinates in the table


def _compute(asked: Asked) -> dict[str, Any]:
    from landed_jax.analysis.basis._coordinates import coordinates

    return {"coordinates": coordinates(asked.trace, asked.question)}


def _document(account: "Account", found: dict[str, Any]) -> dict[str, Any]:
    import numpy as np

    effect, share = account.attribution.direct_effect, account.attribution.sigma_share
    assert effect is not None and share is not None  # an account has both
    contributions = np.asarray(found["coordinates"].contributions[0, 0], float)
    order = np.argsort(-np.abs(contributions), kind="stable")[:_COORDINATES]
    return {
        "heads": {
            "direct_effect": np.asarray(effect.heads[:, 0, 0], float).tolist(),
            "sigma_share": np.asarray(share.heads[:, 0, 0], float).tolist(),
        },
        "neurons": [_largest(account, layer) for layer in range(account.config.n_layers)],
        "neuron_groups": _groups(np.asarray(account.attribution.landed.neurons[:, 0, 0], float)),
        "d_model": account.config.d_model,
        "coordinates": [{"coordinate": int(k), "contribution": float(contributions[k])} for k in order],
    }


def _largest(account: "Account", layer: int) -> list[dict[str, Any]]:
    """A layer's neurons with the largest landed contributions."""
    import numpy as np

    attribution, config = account.attribution, account.config
    parts = {
        name: np.asarray(numbers.neurons[layer, 0, 0], float)
        for name in ("landed", "direct_effect", "sigma_share")
        if (numbers := getattr(attribution, name)) is not None
    }
    rows = []
    for place in np.argsort(-np.abs(parts["landed"]), kind="stable")[:_NEURONS]:
        slot, index = divmod(int(place), config.d_ff)
        named = {"index": index}
        if attribution.experts is not None:
            named = {"expert": int(attribution.experts[layer, 0, 0, slot]), "index": index}
        rows.append(named | {name: float(values[place]) for name, values in parts.items()})
    return rows


def _groups(landed: "np.ndarray") -> dict[str, Any]:
    """Sums over neighbouring neurons, so that a layer has few numbers whatever its width."""
    import numpy as np

    size = -(-landed.shape[1] // _GROUPS)
    sums = np.add.reduceat(landed, np.arange(0, landed.shape[1], size), axis=1)
    return {"size": size, "landed": sums.tolist()}


def _table(account: "Account", found: dict[str, Any], document: dict[str, Any]) -> "list[Table]":
    from landed_jax.tables.table import Column, Table

    columns = [
        Column("coordinate"),
        Column("contribution"),
        Column("sum", drop=1, legend="sum: of these contributions, down to this row"),
    ]
    rows, total = [], 0.0
    for row in document["coordinates"][:_ROWS]:
        total += row["contribution"]
        rows.append([str(row["coordinate"]), f"{row['contribution']:+.4f}", f"{total:+.4f}"])
    title = f"The {len(rows)} largest coordinates of {document['d_model']}"
    return [Table(title, columns, rows, elsewhere="--json")]


SECTION = Section(
    name="detail",
    help="Also: every head's direct effect, each layer's largest neurons, the largest coordinates.",
    compute=_compute,
    json_field="detail",
    document=_document,
    table=_table,
    place=5,
)
