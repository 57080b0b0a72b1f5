"""The tables of a run's sections."""

from rich.console import Group, RenderableType
from rich.text import Text

from landed_jax.report.account import Account


def section_report(account: Account) -> RenderableType:
    """A table for each section that was asked for."""
    parts: list[RenderableType] = []
    for section, found in account.sections.items():
        parts += [Text(), section.table(account, found, section.document(account, found))]
    return Group(*parts)
