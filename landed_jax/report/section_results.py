"""What the sections of a run find out, in one compiled program."""

import dataclasses
from functools import partial
from typing import Any

from landed_jax.nn.layer_programs import by_layers
from landed_jax.processes import fetched
from landed_jax.report.sections.section import Asked, Section
from landed_jax.results.one_prompt import array_of_prompt, of_prompt
from landed_jax.results.padding import array_without_padding, without_padding


def section_results(asked: Asked, wanted: tuple[Section, ...]) -> dict[Section, dict[str, Any]]:
    """Each section's results as NumPy arrays, of all prompts, with the padding."""
    if not wanted:
        return {}
    # Out of JAX in one go, as each array fetched alone would wait for its own transfer.
    return dict(zip(wanted, fetched(_compute(asked, wanted=wanted)), strict=True))


def of_one_prompt(section: Section, results: dict[str, Any], prompt: int, padding: int) -> dict[str, Any]:
    """A section's results for one prompt, without its padding."""
    return {name: _alone(section, name, result, prompt, padding) for name, result in results.items()}


@partial(by_layers, static=("wanted",))
def _compute(asked: Asked, *, wanted: tuple[Section, ...]) -> list[dict[str, Any]]:
    return [section.compute(asked) for section in wanted]


def _alone(section: Section, name: str, result: Any, prompt: int, padding: int) -> Any:
    if dataclasses.is_dataclass(result):
        return without_padding(of_prompt(result, prompt), padding)
    axes = section.axes[name].split()
    return array_without_padding(array_of_prompt(result, axes, prompt), axes, padding)
