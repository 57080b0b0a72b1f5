"""`--lens`: the value and the favoured token at every read site."""

from typing import TYPE_CHECKING, Any

from landed_jax.nn.hook_points import RESIDUALS
from landed_jax.report.sections.section import Asked, Section

if TYPE_CHECKING:
    from landed_jax.report.account import Account
    from landed_jax.tables.table import Table


def _compute(asked: Asked) -> dict[str, Any]:
    from landed_jax.analysis.attribution._logit_lens import lens_top_tokens, logit_lens

    return {
        "values": logit_lens(asked.trace, asked.question),
        "tokens": lens_top_tokens(asked.trace, 1),
    }


def _document(account: "Account", found: dict[str, Any]) -> list[dict[str, Any]]:
    values, tokens = found["values"], found["tokens"]
    rows = []
    for i, (site, between) in enumerate(zip(values.sites, values.groups_between(), strict=True)):
        token = int(tokens.ids[i, 0, 0, 0])
        rows.append(
            {
                "site": site,
                "own_sigma": float(values.own_sigma[i, 0, 0]),
                "final_sigma": float(values.final_sigma[i, 0, 0]),
                "written_before": ", ".join(values.groups[between]),
                "landed": float(values.final_sigma_contributions[between, 0, 0].sum()),
                "top": {"id": token, "text": account.vocabulary.text(token)},
            }
        )
    return rows


def _table(account: "Account", found: dict[str, Any], document: list[dict[str, Any]]) -> "list[Table]":
    from landed_jax.tables.quoted import Quoted
    from landed_jax.tables.table import Column, Table

    columns = [
        Column("read\nsite", left=True),
        Column("own σ", legend="own σ: the value of the stream there, under its own σ and the final norm's γ"),
        Column(
            "final σ", legend="final σ: the same under the final norm's σ; from row to row it moves by what was written"
        ),
        Column("landed", drop=2, legend="landed: the landed contribution of what was written since the site before"),
        Column("written\nbefore", left=True, drop=1),
        Column("likeliest", left=True, legend="likeliest: the token with the largest logit in the lens"),
    ]
    rows = []
    for row in document:
        numbers = (f"{row[key]:+.4f}" for key in ("own_sigma", "final_sigma", "landed"))
        rows.append([row["site"], *numbers, row["written_before"], Quoted(row["top"]["text"])])
    return [Table("Logit lens", columns, rows, elsewhere="--json")]


SECTION = Section(
    name="lens",
    help="Also: the logit lens at every read site.",
    compute=_compute,
    json_field="lens",
    document=_document,
    table=_table,
    record=RESIDUALS,
    place=4,
)
