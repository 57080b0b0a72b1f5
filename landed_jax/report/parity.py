"""How near each family came to its references when it was last measured: by `python -m tests.parity`."""

import json
from pathlib import Path
from typing import Any, NamedTuple

FILE = Path(__file__).with_name("parity.json")


class Parity(NamedTuple):
    """The worst errors over tiny models of a family, each in units of the largest value of its kind."""

    models: int
    logits_float32: float
    logits_float64: float
    closure: float
    direct_effects: float


class LastMeasured(NamedTuple):
    """When, with which versions, and what was found, by the name of the family or of what holds one."""

    date: str
    versions: dict[str, str]
    found: dict[str, Parity]

    def to_json(self) -> str:
        found = {name: parity._asdict() for name, parity in self.found.items()}
        return json.dumps({**self._asdict(), "found": found}, indent=1) + "\n"


def last_measured() -> LastMeasured:
    """What the package's own file holds."""
    values: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    found = {name: Parity(**errors) for name, errors in values["found"].items()}
    return LastMeasured(values["date"], values["versions"], found)
