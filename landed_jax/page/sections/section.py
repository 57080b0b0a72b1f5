"""What a section of the page is: one value, from a JSON document to frames, charts and tables."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from landed_jax.page._blocks import Built

if TYPE_CHECKING:
    from altair import Chart, LayerChart

Document = Mapping[str, Any]


@dataclass(frozen=True)
class PageSection:
    """A part of the page under one heading.

    Attributes:
        name: part of its address in the page, ``#waterfall``.
        title: its heading.
        of: the kind of result that it shows: `landed_jax.page._kinds` lists them.
        build: what it shows of a document of that kind; None where the document has nothing for it.
        charts: its charts by their names, made once for all results of the page.
        place: sections come in the order of their places.
    """

    name: str
    title: str
    of: str
    build: Callable[[Document], Built | None]
    charts: Mapping[str, Callable[[], "Chart | LayerChart"]] = field(default_factory=dict)
    place: int = 100
