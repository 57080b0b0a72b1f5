"""Results as they were stored: JSON, JSON lines, the folder of a study."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from landed_jax.errors import LandedError, cut, first_line
from landed_jax.files.kinds import expanded, is_folder, is_ordinary
from landed_jax.page._kinds import KINDS, kind_of

_MOST_BYTES = 256 << 20  # a page of more could hardly be opened


def read_results(paths: Sequence[str | Path]) -> list[dict[str, Any]]:
    """The documents in files and folders, in their order.

    Args:
        paths: JSON or JSON lines of `landed run`, `ablate`, `patch`, `compare` or `study`, or a study's folder.

    Raises:
        LandedError: for what cannot be read, and what no such command wrote.
    """
    return [document for path in paths for document in _read(expanded(path))]


def _read(path: Path) -> list[dict[str, Any]]:
    if is_folder(path):
        return _study(path)
    if not is_ordinary(path, _MOST_BYTES):
        raise LandedError(f"There is no result {path}.")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise LandedError(
            f"{path} is no JSON ({first_line(error)}): give what --json wrote, or a study's folder."
        ) from error
    found = _documents(text, path)
    for number, document in enumerate(found, 1):
        if not isinstance(document, dict) or kind_of(document) is None:
            where = f"{path}, line {number}" if len(found) > 1 else str(path)
            names = ", ".join(dict.fromkeys(kind.command for kind in KINDS))
            raise LandedError(f"{where} holds no JSON of landed {names}, so a page cannot show it.")
    return found


def _documents(text: str, path: Path) -> list[Any]:
    """One document, or one a line; a series of studies is its studies."""
    try:
        whole = _parsed(text)
    except RecursionError:
        raise LandedError(f"{path} cannot be read as JSON: it is nested too deeply.") from None
    except ValueError as error:
        lines = [line for line in text.split("\n") if line.strip()]
        if len(lines) < 2 or not _is_json(lines[0]):
            raise LandedError(f"{path} cannot be read as JSON: {first_line(error)}.") from error
        return [_line(line, f"{path}, line {number}") for number, line in enumerate(lines, 1)]
    studies = whole.get("studies") if isinstance(whole, Mapping) else None
    return studies if isinstance(studies, list) else [whole]


def _parsed(text: str) -> Any:
    """JSON, in which Python would also read numbers that are not finite."""

    def finite(text: str) -> float:
        if not math.isfinite(number := float(text)):
            raise ValueError(f"it holds {cut(text, 20)}, which is no finite number")
        return number

    return json.loads(text, parse_float=finite, parse_constant=finite)


def _is_json(text: str) -> bool:
    try:
        _parsed(text)
    except ValueError:
        return False
    return True


def _line(line: str, where: str) -> Any:
    try:
        return _parsed(line)
    except (ValueError, RecursionError) as error:
        raise LandedError(f"{where} is no JSON: {cut(str(error), 100)}.") from None


def _study(folder: Path) -> list[dict[str, Any]]:
    from landed_jax.report.study_report import study_document
    from landed_jax.studies import opened, opened_series

    if (folder / "study.json").exists():
        return [study_document(opened(folder))]
    return [study_document(study) for study in opened_series(folder).studies.values()]
