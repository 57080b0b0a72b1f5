"""Topologies as users name them: ``v5e:4x4``, ``h100:8``."""

import math
import re
from dataclasses import dataclass

from landed_jax.errors import LandedError, shown
from landed_jax.planning._chips import Chip, chips

EXAMPLES = {0: "8", 2: "4x4", 3: "2x2x4"}


@dataclass(frozen=True)
class Topology:
    """Chips of one kind that are joined.

    Attributes:
        name: as it was given.
        count: how many.
    """

    name: str
    chip: Chip
    count: int

    def link_of(self, shards: int) -> float:
        """Bytes a second that a chip sends to the others of one group of so many: beyond the joined ones by network."""
        return self.chip.link if shards <= self.chip.joined else self.chip.network


def topology_of(text: str) -> Topology:
    """The topology that a text names: a kind of chip, and its grid (TPU) or number (GPU).

    Raises:
        LandedError: for an unknown kind, another form of grid than the kind has, or more chips than can be joined.

    >>> topology_of("v5e:4x4").count, topology_of("h100:16").count
    (16, 16)
    """
    kind, _, grid = text.strip().partition(":")
    chip = chips().get(kind.lower())
    if chip is None:
        raise LandedError(
            f"The topology {shown(text)} names no chip that is known: write one of {', '.join(chips())}, "
            "as in v5e:4x4 or h100:8."
        )
    parts = grid.lower().split("x")
    whole = all(re.fullmatch(r"[1-9]\d{0,4}", part, re.ASCII) for part in parts)
    if not whole or len(parts) != max(chip.axes, 1):
        form = f"a grid of {chip.axes} axes" if chip.axes else "a number of them"
        raise LandedError(
            f"The topology {shown(text)} is not understood: {chip.title} takes {form}, as in "
            f"{chip.name}:{EXAMPLES[chip.axes]}."
        )
    count = math.prod(map(int, parts))
    if not chip.network and count > chip.joined:
        raise LandedError(f"The topology {shown(text)} has {count} chips: {chip.title} joins at most {chip.joined}.")
    return Topology(text.strip(), chip, count)
