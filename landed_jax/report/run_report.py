"""One prompt's account as text and tables for people."""

from collections.abc import Sequence

from landed_jax.report.account import Account
from landed_jax.report.headline import headline
from landed_jax.report.layers_table import layers_table
from landed_jax.report.scale import scale_table
from landed_jax.report.writes_table import writes_table
from landed_jax.tables.table import Block, Paragraph


def run_report(account: Account, top: int) -> list[Block]:
    """The answer first, then who made it, then how it was scaled."""
    writes = [writes_table(account, top)] if top else []
    return [*headline(account), *writes, layers_table(account), scale_table(account), coordinates_line(account)]


def section_report(account: Account) -> list[Block]:
    """The tables of each section that was asked for."""
    tables: list[Block] = []
    for section, found in account.sections.items():
        tables += section.table(account, found, section.document(account, found))
    return tables


def whole_report(account: Account) -> Sequence[Block]:
    """All that the account found out."""
    return [*run_report(account, account.top), *section_report(account)]


def coordinates_line(account: Account) -> Paragraph:
    """How many coordinates reach parts of the value."""
    percents = " / ".join(map(str, account.coordinate_counts))
    counts = " / ".join(map(str, account.coordinate_counts.values()))
    d_model = account.config.d_model
    return Paragraph(f"Coordinates, by size, that reach {percents} % of the value: {counts} of {d_model}")
