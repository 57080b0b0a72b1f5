"""Every notebook runs from top to bottom in a new kernel, and prints what is stored in it."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.notebooks import FOLDER, NAMES, REAL, alike, run, texts, words_and_numbers


def read(name: str) -> list[dict[str, Any]]:
    return json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]


def compared(name: str, model: Path | None = None) -> None:
    for stored, found in zip(read(name), run(name, model).cells, strict=True):
        for before, now in zip(texts(stored), texts(found), strict=True):
            (words, numbers), (new_words, new_numbers) = words_and_numbers(before), words_and_numbers(now)
            source = "".join(stored["source"])
            assert words == new_words, source
            assert all(alike(*pair) for pair in zip(numbers, new_numbers, strict=True)), (source, numbers, new_numbers)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_stored_with_its_outputs(name: str) -> None:
    cells = [cell for cell in read(name) if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert outputs and not [one for one in outputs if one["output_type"] == "error" or one.get("name") == "stderr"]
    assert str(Path.home()) not in json.dumps(outputs) and "/tmp/" not in json.dumps(outputs)
    assert (FOLDER / f"{name}.ipynb").stat().st_size < 1 << 20


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name not in REAL])
def test_it_prints_what_is_stored(name: str) -> None:
    compared(name)
