"""`--scale-share`: a toy, to show what a new section takes. How much of the final σ² each read site's σ² is."""

from typing import TYPE_CHECKING, Any

from landed_jax.report.sections.section import Asked, Section

if TYPE_CHECKING:
    from rich.table import Table

    from landed_jax.report.account import Account


def _compute(asked: Asked) -> dict[str, Any]:
    sigma = asked.trace.sigma
    return {"share": (sigma / sigma[-1:]) ** 2}


def _document(account: "Account", found: dict[str, Any]) -> dict[str, float]:
    from landed_jax.nn.stream_order import read_sites

    return {site: float(found["share"][i, 0, 0]) for i, site in enumerate(read_sites(account.config))}


def _table(account: "Account", found: dict[str, Any], document: dict[str, float]) -> "Table":
    from landed_jax.report.plain_table import table_of

    table = table_of("Of the final σ²", "read site", "share")
    for site, share in document.items():
        table.add_row(site, f"{share:.1%}")
    return table


SECTION = Section(
    name="scale_share",
    help="Also: each read site's σ² as a part of the final one.",
    compute=_compute,
    json_field="scale_share",
    document=_document,
    table=_table,
    axes={"share": "site batch position"},
)
