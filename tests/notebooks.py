"""Notebooks, run in a new kernel each: ``python -m tests.notebooks [NAME …]`` stores what they print and draw.

What is stored is what the test compares with: texts up to their numbers' rounding.
"""

import copy
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
_NUMBER = re.compile(r"[-+]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?")


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
        given |= {"TQDM_DISABLE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        if model is not None:
            Path(folder, LOCAL).symlink_to(model)
            given["LANDED_MODEL"] = LOCAL
        client = NotebookClient(notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": folder}})
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


def words_and_numbers(text: str) -> tuple[list[str], list[float]]:
    """
    >>> words_and_numbers("head 2.7: +1,000.5 of -1e-3")
    (['head', ':', 'of'], [2.7, 1000.5, -0.001])
    """
    numbers = [float(found.replace(",", "")) for found in _NUMBER.findall(text)]
    return _NUMBER.sub(" ", text).split(), numbers


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
