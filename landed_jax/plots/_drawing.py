"""A figure as a value: its panels, and what its caption says."""

from collections.abc import Sequence
from dataclasses import dataclass

from landed_jax.plots._panels import Panel
from landed_jax.tables.flow import Item


@dataclass(frozen=True, eq=False)
class Drawing:
    """What a result's figure shows.

    Attributes:
        panels: beside each other; below each other where they are wide.
        caption: model, number type, prompts, position and count.
    """

    panels: Sequence[Panel]
    caption: Sequence[Item]
