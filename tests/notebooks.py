"""Notebooks, run in a new kernel each: ``python -m tests.notebooks [NAME …]`` stores what they print and draw.

The texts that are stored are what the test compares with, up to numbers' rounding. Pictures and HTML are not compared.
"""

import copy
import math
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
REAL = ("smollm2",)
"""Those on a public model, which is downloaded."""
LOCAL = "SmolLM2-135M-Instruct.gguf"
_NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?%?")
_SMALLEST = 1e-6  # errors of float32 below are all alike


def run(name: str, model: Path | None = None) -> Any:
    """The notebook with the outputs of a new run, from a folder of its own.

    Args:
        model: in place of the public model; seen by the notebook under a name without a path.
    """
    import nbformat
    from nbclient import NotebookClient

    notebook: Any = nbformat.read(FOLDER / f"{name}.ipynb", 4)
    with tempfile.TemporaryDirectory() as folder:
        given = dict(os.environ, PYTHONPATH=os.pathsep.join([str(FOLDER.parent), *sys.path[1:]]))
        given.pop("XLA_FLAGS", None)  # the tests' own: more devices than there are
        given |= {"COLUMNS": "100", "TQDM_DISABLE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        if model is not None:
            Path(folder, LOCAL).symlink_to(model)
            given["LANDED_MODEL"] = LOCAL
        client = NotebookClient(
            notebook,
            timeout=900,
            kernel_name="python3",
            coalesce_streams=True,
            resources={"metadata": {"path": folder}},
        )
        client.execute(env=given)
    for cell in notebook.cells:
        cell.metadata.clear()  # times of the run
    return notebook


def texts(cell: Any) -> list[str]:
    """What a cell printed or showed, as text."""
    shown = []
    for output in cell.get("outputs", []):
        text = output["text"] if output["output_type"] == "stream" else output.get("data", {}).get("text/plain", "")
        shown.append("".join(text))
    return shown


def words_and_numbers(text: str) -> tuple[list[str], list[str]]:
    """
    >>> words_and_numbers("29.neuron.1066: +1,000.5 of -1e-3")
    (['.neuron.', ':', 'of'], ['29', '1066', '+1,000.5', '-1e-3'])
    """
    return _NUMBER.sub(" ", text).split(), _NUMBER.findall(text)


def alike(one: str, other: str) -> bool:
    """Whether two printed numbers are the same up to rounding on another machine.

    Whole numbers and numbers such as 23.4, which name layers, heads and neurons, have to be equal; errors, which have
    an exponent, may differ by a factor of ten.

    >>> alike("+3.325", "+3.326"), alike("23.4", "23.8"), alike("1066", "1080"), alike("1.9e-06", "1.9e-03")
    (True, False, False, False)
    """
    if one == other:
        return True
    a, b = (float(text.strip("%").replace(",", "")) for text in (one, other))
    if "e" in one or "e" in other:
        return abs(math.log10(max(abs(a), _SMALLEST) / max(abs(b), _SMALLEST))) <= 1
    if one[-1] == "%" == other[-1]:
        return abs(a - b) <= 10 ** -_decimals(one)
    if _decimals(one) != _decimals(other) or _decimals(one) == 0 or re.fullmatch(r"\d+\.\d", one):
        return False
    return abs(a - b) <= max(0.02 * abs(b), 2 * 10 ** -_decimals(one))


def _decimals(number: str) -> int:
    return len(number.strip("%").partition(".")[2])


def store(name: str, model: Path | None = None) -> None:
    """Write the notebook with the outputs of a new run."""
    import nbformat

    notebook = copy.deepcopy(run(name, model))
    nbformat.write(notebook, FOLDER / f"{name}.ipynb")


if __name__ == "__main__":
    for asked in sys.argv[1:] or NAMES:
        if asked in REAL:
            from conversion.smollm2 import fetch

            store(asked, fetch())
        else:
            store(asked)
