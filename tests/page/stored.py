"""Stored results of each kind but accounts, as their commands write them."""

import json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from landed_jax.cli.commands import status_of

ROME = "The Colosseum is in the city of"


def _written(*words: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result.json"
        assert status_of([*words, "--json", str(path)]) == 0
        return json.loads(path.read_text())


@cache
def ablate() -> dict[str, Any]:
    return _written("ablate", ROME, "--components", "parts")


@cache
def patch() -> dict[str, Any]:
    return _written("patch", ROME, "The Louvre is in the city of", "--components", "heads")


@cache
def compare() -> dict[str, Any]:
    return _written(
        "compare", "--task", "induction", "--level", "heads", "--methods", "landed,random", "--prompts", "4",
        "--circuit-prompts", "2",
    )  # fmt: skip


@cache
def study() -> dict[str, Any]:
    return _written("study", "testbed:induction", "--count", "8")


STORED: dict[str, Callable[[], dict[str, Any]]] = {
    "ablate": ablate,
    "patch": patch,
    "compare": compare,
    "study": study,
}
