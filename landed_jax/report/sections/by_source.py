"""`--by-source`: the heads' contributions by the token they attend to, all heads together and each."""

from typing import TYPE_CHECKING, Any

from landed_jax.report.sections.section import Asked, Section

if TYPE_CHECKING:
    from landed_jax.report.account import Account
    from landed_jax.tables.table import Table

_HEADS = 5  # columns of heads beside all heads together
_ROWS = 40  # tokens, those with the largest contributions


def _compute(asked: Asked) -> dict[str, Any]:
    from landed_jax.analysis.attribution._sources import attribute_by_source
    from landed_jax.analysis.attribution._token_contributions import token_contributions

    return {
        "heads": attribute_by_source(asked.trace, asked.question).landed,
        "picture": token_contributions(asked.trace, asked.question),
    }


def _document(account: "Account", found: dict[str, Any]) -> dict[str, Any]:
    import numpy as np

    picture = found["picture"]
    return {
        "tokens": np.asarray(picture.overall[0, 0], float).tolist(),
        "heads": np.asarray(found["heads"][:, 0, 0], float).tolist(),
        "closure_error": float(picture.overall_closure_error[0, 0]),
    }


def _table(account: "Account", found: dict[str, Any], document: dict[str, Any]) -> "list[Table]":
    import numpy as np

    from landed_jax.report.numbers import within
    from landed_jax.tables.quoted import Quoted
    from landed_jax.tables.table import Column, Table

    heads = np.asarray(found["heads"][:, 0, 0])
    totals = np.abs(heads.sum(-1))
    largest = np.argsort(-totals, axis=None, kind="stable")[:_HEADS]
    places = [tuple(int(i) for i in np.unravel_index(u, totals.shape)) for u in largest]
    columns = [
        Column("at"),
        Column("token", left=True),
        Column("all heads"),
        *(Column(f"{layer}.head.{head}", drop=_HEADS - i) for i, (layer, head) in enumerate(places)),
    ]
    tokens, together = account.tokens()[: account.position + 1], np.array(document["tokens"])
    seen = np.sort(np.argsort(-np.abs(together[: len(tokens)]), kind="stable")[:_ROWS])
    rows = []
    for column in map(int, seen):
        numbers = [together[column], *(heads[layer, head, column] for layer, head in places)]
        rows.append([str(column), Quoted(tokens[column]), *(f"{number:+.3f}" for number in numbers)])
    notes = [
        f"All heads together: {together.sum():+.4f}, which their own totals equal {within(document['closure_error'])}."
    ]
    if len(seen) < len(tokens):
        notes.append(f"The {len(seen)} tokens with the largest contributions of {len(tokens):,}; --json has all.")
    title = "Landed contributions by source token"
    return [Table(title, columns, rows, keys=2, notes=notes, elsewhere="--json")]


SECTION = Section(
    name="by_source",
    help="Also: the heads' contributions, token by token.",
    compute=_compute,
    json_field="by_source",
    document=_document,
    table=_table,
    axes={"heads": "layer batch position head source"},
    place=1,
)
