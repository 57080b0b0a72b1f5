"""Bars for the package's cost: limits on ratios of time and memory."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.results import Section


@dataclass(frozen=True)
class Bar:
    """`one` takes at most `limit` times the cost of `other` (at least, with `least`).

    It applies to all sizes and lengths, or to those in `sizes` and `lengths`.
    """

    one: str
    other: str
    limit: float
    sizes: tuple[str, ...] = ()
    lengths: tuple[int, ...] = ()
    least: bool = False

    def __str__(self) -> str:
        return f"{self.one} / {self.other} {'≥' if self.least else '≤'} {self.limit:.2f}"

    def held(self, ratio: float) -> bool:
        return ratio >= self.limit if self.least else ratio <= self.limit

    def covers(self, size: str, length: int) -> bool:
        return (not self.sizes or size in self.sizes) and (not self.lengths or length in self.lengths)


BARS = (
    Bar("ours-forward", "torch-forward", 1.0, ("125M", "1.1B"), (32, 128, 512)),
    Bar("ours-last", "ours-forward", 1.10),
    # Stricter: both compute the last position's logits only.
    Bar("ours-last", "ours-forward-last", 1.10),
    Bar("ours-all", "ours-forward", 1.35),
    Bar("ours-effects", "ours-forward", 1.65),
    Bar("ours-last", "hooks-last", 1.0),
    Bar("ours-all", "hooks-all", 1.0),
    Bar("lens-all", "ours-all", 10.0, least=True),
)
MEMORY_BARS = (
    Bar("ours-top-2", "ours-forward", 1.10, ("1.1B",), (512,)),
    Bar("ours-all", "hooks-all", 1.0),
)


def judged(section: Section) -> list[tuple[Bar, str, int, float]]:
    """Every bar at every size and length where both sides were measured, with the measured ratio."""
    return _judged(BARS, section, section.ratio)


def judged_by_memory(section: Section) -> list[tuple[Bar, str, int, float]]:
    """`judged` for peak memory."""
    return _judged(MEMORY_BARS, section, section.peak_ratio)


def _judged(
    bars: tuple[Bar, ...], section: Section, ratio_of: Callable[[str, str, str, int], float | None]
) -> list[tuple[Bar, str, int, float]]:
    found = []
    for bar in bars:
        for size, length in section.settings():
            ratio = ratio_of(bar.one, bar.other, size, length)
            if bar.covers(size, length) and ratio is not None:
                found.append((bar, size, length, ratio))
    return found
