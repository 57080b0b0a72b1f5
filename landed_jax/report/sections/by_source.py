"""`--by-source`: the heads' contributions by the token they attend to, all heads together and each."""

from typing import TYPE_CHECKING, Any

from landed_jax.report.sections.section import Asked, Section

if TYPE_CHECKING:
    from rich.table import Table

    from landed_jax.report.account import Account

_HEADS = 5  # columns of heads beside all heads together


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


def _table(account: "Account", found: dict[str, Any], document: dict[str, Any]) -> "Table":
    import numpy as np
    from rich.markup import escape

    from landed_jax.report.plain_table import table_of

    heads = np.asarray(found["heads"][:, 0, 0])
    totals = np.abs(heads.sum(-1))
    largest = np.argsort(-totals, axis=None, kind="stable")[:_HEADS]
    places = [tuple(int(i) for i in np.unravel_index(u, totals.shape)) for u in largest]
    names = [f"{layer}.head.{head}" for layer, head in places]
    table = table_of("Landed contributions by source token", "column", "token", "all heads", *names, left=2)
    for column, token in enumerate(account.tokens()):
        if column > account.position:
            break
        cells = [f"{heads[layer, head, column]:+.3f}" for layer, head in places]
        table.add_row(str(column), escape(repr(token)), f"{document['tokens'][column]:+.3f}", *cells)
    whole = sum(document["tokens"])
    table.caption = (
        f"All heads together: {whole:+.4f}, which their own totals equal within {document['closure_error']:.1e}"
    )
    return table


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
