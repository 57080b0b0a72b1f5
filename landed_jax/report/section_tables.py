"""The closer sections of a run as tables for people."""

from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from landed_jax.analysis.writes.write import describe
from landed_jax.report.account import Account
from landed_jax.report.plain_table import plain_table
from landed_jax.report.section_documents import NAMES, section_document
from landed_jax.report.sections import Effects, Sources

_HEADS = 5  # columns of heads beside all heads together
_ROWS = 5


def section_report(account: Account) -> RenderableType:
    """A table for each section that was asked for."""
    makers: dict[str, Callable[[Account, Any, Any], RenderableType]] = {
        "by_source": _by_source,
        "effects": _effects,
        "coordinates": _coordinates,
        "lens": _lens,
    }
    documents = section_document(account)
    parts: list[RenderableType] = []
    for name, found in account.sections.items():
        parts += [Text(), makers[name](account, found, documents[NAMES[name]])]
    return Group(*parts)


def _table(title: str, *columns: str, left: int = 1) -> Table:
    table = plain_table(title)
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i < left else "right", no_wrap=i >= left, overflow="fold")
    return table


def _by_source(account: Account, found: Sources, document: dict[str, Any]) -> Table:
    heads = np.asarray(found.heads[:, 0, 0])
    totals = np.abs(heads.sum(-1))
    largest = np.argsort(-totals, axis=None, kind="stable")[:_HEADS]
    places = [tuple(int(i) for i in np.unravel_index(u, totals.shape)) for u in largest]
    names = [f"{layer}.head.{head}" for layer, head in places]
    table = _table("Landed contributions by source token", "column", "token", "all heads", *names, left=2)
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


def _effects(account: Account, found: Effects, document: dict[str, Any]) -> RenderableType:
    agreement = _table(
        "Landed contribution (σ fixed) against direct effect (σ live)", "of the", "over", "NMAE", "r", left=2
    )
    for name, parts in document["landed_against_direct"].items():
        for part, numbers in parts.items():
            shown = [numbers["nmae"], numbers["correlation"]]
            cells = ["" if v is None else form.format(v) for v, form in zip(shown, ("{:.1%}", "{:+.3f}"), strict=True)]
            agreement.add_row(name, part, *cells)
    other = document["against"]
    named = "" if other is None else f"; the difference is to {escape(repr(other['text']))}"
    agreement.caption = f"NMAE: Σ|landed − effect| / Σ|effect|{named}"
    loud = _table(
        f"Writes that act on the {document['volume_of']} through σ",
        "write",
        "score",
        "through σ",
        "itself",
        "weak part",
        "σ share",
    )
    for row in found.volume.top(_ROWS):
        loud.add_row(
            describe(row),
            f"{row.score:.4f}",
            f"{row.mediated:+.4f}",
            f"{row.landed:+.4f}",
            f"{row.weak:.1%}",
            f"{row.sigma_share:+.2%}",
        )
    loud.caption = "through σ: direct effect less landed contribution; weak part: where the unembedding hardly reads"
    return Group(agreement, Text(), loud)


def _coordinates(account: Account, found: Any, document: dict[str, Any]) -> RenderableType:
    table = _table(f"Coordinates of {account.config.d_model} that carry the value", "counted", "50 %", "90 %", "99 %")
    plain, settled = account.coordinate_counts.values(), document["settled"].values()
    table.add_row("first reached", *map(str, plain))
    table.add_row("reached for good", *map(str, settled))
    rotated = document["rotated"]
    pairs = zip(rotated["settled_mean"].values(), rotated["settled_spread"].values(), strict=True)
    table.add_row(
        f"for good, {rotated['rotations']} random bases", *(f"{mean:.1f} ± {spread:.1f}" for mean, spread in pairs)
    )
    outlying = document["outliers"]
    table.add_row("for good, outliers left out", *map(str, outlying["settled_without"].values()))
    number = len(outlying["coordinates"])
    check = document["causal_check"]
    table.caption = (
        f"outliers: {number} coordinates above {outlying['multiple']:g} × the median, {outlying['contribution']:+.4f}"
    )
    causal = _table(
        f"The {check['coordinates']} coordinates that carry 90 %", "landed stream", "value", "rank of the target"
    )
    for name, title in (("whole", "whole"), ("kept", "those alone"), ("ablated", "all others")):
        rank = check[name]["rank"]
        causal.add_row(title, f"{check[name]['value']:+.4f}", "" if rank is None else str(rank))
    return Group(table, Text(), causal)


def _lens(account: Account, found: Any, document: list[dict[str, Any]]) -> Table:
    table = _table("Logit lens", "read site", "own σ", "final σ", "landed", "written before", "likeliest")
    for row in document:
        numbers = (f"{row[key]:+.4f}" for key in ("own_sigma", "final_sigma", "landed"))
        table.add_row(row["site"], *numbers, row["written_before"], escape(repr(row["top"]["text"])))
    table.caption = "final σ moves by what was written since the site before: that write's landed contribution"
    return table
