"""What the sections of a run find out, in one compiled program."""

import dataclasses
from functools import partial
from typing import Any

from landed_jax.nn.layer_programs import by_layers
from landed_jax.processes import fetched
from landed_jax.report.sections.section import Asked, Section
from landed_jax.results.padding import array_without_padding, without_padding


def section_results(asked: Asked, wanted: tuple[Section, ...], padding: int) -> dict[Section, dict[str, Any]]:
    """Each section's results as NumPy arrays, without the padding."""
    if not wanted:
        return {}
    # Out of JAX in one go, as each array fetched alone would wait for its own transfer.
    found = fetched(_compute(asked, wanted=wanted))
    return {
        section: {name: _without_padding(section, name, result, padding) for name, result in results.items()}
        for section, results in zip(wanted, found, strict=True)
    }


@partial(by_layers, static=("wanted",))
def _compute(asked: Asked, *, wanted: tuple[Section, ...]) -> list[dict[str, Any]]:
    return [section.compute(asked) for section in wanted]


def _without_padding(section: Section, name: str, result: Any, padding: int) -> Any:
    if dataclasses.is_dataclass(result):
        return without_padding(result, padding)
    return array_without_padding(result, section.axes[name].split(), padding)
