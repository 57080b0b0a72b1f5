"""Results as JSON beside the page. Later passes add to them, and a killed run leaves complete files."""

import dataclasses
import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from landed_jax.files.atomic_file import write_file


@dataclass
class Measured:
    """One contestant at one size and length.

    Attributes:
        seconds: of each round.
        note: the reason for missing rounds.
        peak_bytes: memory above the weights, in the memory pass.
    """

    contestant: str
    size: str
    length: int
    seconds: list[float] = field(default_factory=list)
    compile_s: float | None = None
    closure_error: float | None = None
    largest_value: float | None = None
    note: str = ""
    peak_bytes: int | None = None

    @property
    def median(self) -> float | None:
        return statistics.median(self.seconds) if self.seconds else None


@dataclass
class Run:
    """One command, its machine, and the sizes and lengths whose rows it measured."""

    command: str
    machine: dict[str, str]
    settings: list[tuple[str, int]] = field(default_factory=list)

    @property
    def across_devices(self) -> bool:
        """Whether JAX ran on an accelerator and torch on the CPU, so that their times cannot be compared."""
        return not self.machine.get("device", "cpu").startswith("cpu") and self.machine.get("torch device") == "cpu"


@dataclass
class Section:
    """The results of one pass: time, memory or scaling."""

    runs: list[Run]
    rows: list[Measured] = field(default_factory=list)

    def begin(self, run: Run) -> None:
        """Start a run; later rows belong to it."""
        self.runs.append(run)

    def take(self, rows: list[Measured], order: Sequence[str]) -> None:
        """Add rows of the last run, in place of older rows of the same size and length; `order` is that of sizes."""
        here = {(row.size, row.length) for row in rows}
        for run in self.runs:
            run.settings = [setting for setting in run.settings if tuple(setting) not in here]
        self.runs[-1].settings += sorted(here)
        self.runs = [run for run in self.runs if run.settings]
        kept = [row for row in self.rows if (row.size, row.length) not in here]
        self.rows = sorted(kept + rows, key=lambda row: order.index(row.size.partition("/")[0]))

    def run_of(self, size: str, length: int) -> Run | None:
        """The run that measured this size and length."""
        return next((run for run in self.runs if (size, length) in map(tuple, run.settings)), None)

    def find(self, contestant: str, size: str, length: int) -> Measured | None:
        """The row, if it was measured."""
        for row in self.rows:
            if (row.contestant, row.size, row.length) == (contestant, size, length):
                return row
        return None

    def ratio(self, one: str, other: str, size: str, length: int) -> float | None:
        """The median over rounds of one contestant's time over another's in the same round."""
        rows = self.find(one, size, length), self.find(other, size, length)
        if rows[0] is None or rows[1] is None or self._across_devices(one, other, size, length):
            return None
        # A contestant that skipped rounds has fewer.
        paired = [a / b for a, b in zip(rows[0].seconds, rows[1].seconds, strict=False)]
        return statistics.median(paired) if paired else None

    def peak_ratio(self, one: str, other: str, size: str, length: int) -> float | None:
        """One contestant's peak memory over another's."""
        if self._across_devices(one, other, size, length):
            return None
        peaks = [row and row.peak_bytes for row in (self.find(one, size, length), self.find(other, size, length))]
        return peaks[0] / peaks[1] if peaks[0] and peaks[1] else None

    def _across_devices(self, one: str, other: str, size: str, length: int) -> bool:
        run = self.run_of(size, length)
        return one.startswith("ours-") != other.startswith("ours-") and run is not None and run.across_devices

    def settings(self) -> list[tuple[str, int]]:
        """Sizes in the order of measurement, each with its lengths, shortest first."""
        sizes = list(dict.fromkeys(row.size for row in self.rows))
        return sorted({(row.size, row.length) for row in self.rows}, key=lambda each: (sizes.index(each[0]), each[1]))

    def contestants(self) -> list[str]:
        """Contestants in the order of measurement."""
        return list(dict.fromkeys(row.contestant for row in self.rows))


Sections = dict[str, Section]


def read(path: Path) -> Sections:
    """The sections of earlier passes; none where there is no file."""
    if not path.exists():
        return {}
    found: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return {
        name: Section([_run(run) for run in values["runs"]], [Measured(**row) for row in values["rows"]])
        for name, values in found.items()
    }


def _run(values: dict[str, Any]) -> Run:
    return Run(values["command"], values["machine"], [(size, length) for size, length in values["settings"]])


def as_json(sections: Sections) -> str:
    return json.dumps({name: dataclasses.asdict(section) for name, section in sections.items()}, indent=1) + "\n"


def write_whole(texts: Iterable[tuple[Path, str]]) -> None:
    """Write each file atomically: a killed run leaves the old file or the new one."""
    for path, text in texts:
        write_file(path, text.encode())
