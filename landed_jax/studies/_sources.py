"""Where a study's prompts come from, read one after another: files, standard input, data sets, tasks, lists."""

import csv
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from landed_jax.errors import LandedError, cut, first_line
from landed_jax.files.kinds import status_of
from landed_jax.prompt_lines import is_json, json_line, written_ids
from landed_jax.prompts import LONGEST, is_list
from landed_jax.tasks import Answers, Prompt, Task, tasks
from landed_jax.testbed import prompts as testbed_prompts

_LINE = 8 * LONGEST  # bytes: a longer line is no prompt
STANDARD_INPUT = "-"
"""The name of what can be read once."""
NOT_HERE = "in Python"
"""The name of prompts that no name reads again."""


@dataclass(frozen=True)
class Given:
    """A prompt as its source has it.

    Attributes:
        prompt: text or token ids.
        answers: in order of preference; none where the likeliest next token is asked for.
        unreadable: whether the source could not be read here.
    """

    prompt: str | tuple[int, ...] = ""
    answers: tuple[Answers, ...] = ()
    unreadable: bool = False


@dataclass(frozen=True)
class Source:
    """Prompts that can be gone through again.

    Attributes:
        name: by which `source_of` finds them.
        read: begins at the first.
        count: how many there are, for a progress bar; None where that is not known before.
    """

    name: str
    read: Callable[[], Iterator[Given]]
    count: int | None = None


def source_of(
    prompts: Any, *, column: str | None = None, ids: bool = False, count: int = 1000, seed: int = 0
) -> Source:
    """The source that is named, or of a list.

    Args:
        prompts: a file's path (``.jsonl``, ``.ndjson``, ``.csv``, ``.tsv``, ``.parquet``; any other has a prompt a
            line), ``-`` for standard input, ``task:NAME`` or ``testbed:NAME``, ``hf:NAME`` of a Hugging Face data set
            (``hf:NAME:SPLIT``; by default its ``train``); or any number of texts, lists of ids and `Prompt`; or a
            `Task`.
        column: of a table.
        ids: whether prompts are written as token ids.
        count, seed: of prompts of a task.

    Raises:
        LandedError: for what is not there, or needs a package that is not installed.

    >>> [given.prompt for given in source_of(["To be", [5, 7]]).read()]
    ['To be', (5, 7)]
    >>> source_of("testbed:induction", count=3).name
    'testbed:induction'
    """
    if isinstance(prompts, Task):
        return _of_task(prompts, f"{prompts.name}", count, seed)
    if not isinstance(prompts, str | Path):
        return _of_list(prompts)
    name = str(prompts)
    kind, _, rest = name.partition(":")
    if kind in ("task", "testbed"):
        known = tasks() if kind == "task" else testbed_prompts.tasks()
        if rest not in known:
            raise LandedError(f"There is no task {rest!r}: {kind} has {', '.join(sorted(known))}.")
        return _of_task(known[rest], name, count, seed)
    if kind == "hf":
        return Source(name, lambda: _of_dataset(rest, column))
    if name == STANDARD_INPUT:
        return Source(name, lambda: _of_lines(_standard_input(), False, ids))
    _check_file(Path(name))
    suffix = Path(name).suffix.lower()
    if suffix in (".csv", ".tsv"):
        _check_columns(name, next(csv.reader(_text_lines(name), delimiter=_delimiter(suffix)), []), column)
        return Source(name, lambda: _of_csv(name, column, _delimiter(suffix)), _lines(name) - 1)
    if suffix == ".parquet":
        file = _parquet(name)
        _check_columns(name, file.schema_arrow.names, column)
        return Source(name, lambda: _of_parquet(name, column), file.metadata.num_rows)
    in_json = suffix in (".jsonl", ".ndjson")
    return Source(name, lambda: _of_file(name, in_json, ids), _lines(name))


def _of_list(prompts: Iterable[Any]) -> Source:
    if not isinstance(prompts, Iterable):
        raise LandedError(f"Prompts are a file, a task or a list, not a {type(prompts).__name__}.")
    held = prompts if isinstance(prompts, Sequence) else list(prompts)
    return Source(NOT_HERE, lambda: map(_given, held), len(held))


def _given(prompt: Any) -> Given:
    if isinstance(prompt, str):
        return Given(prompt)
    if isinstance(prompt, Prompt):
        return Given(prompt.clean, prompt.answers)
    if is_list(prompt) and all(isinstance(token, int) for token in prompt):
        return Given(tuple(prompt))
    raise LandedError(f"A prompt is text, token ids or a task's Prompt, not a {type(prompt).__name__}.")


def _of_task(task: Task, name: str, count: int, seed: int) -> Source:
    found = task.prompts(count, seed=seed)
    return Source(name, lambda: map(_given, found), len(found))


def _of_file(name: str, in_json: bool, ids: bool) -> Iterator[Given]:
    with open(name, "rb") as file:
        yield from _of_lines(file, in_json, ids)


def _of_lines(file: BinaryIO, in_json: bool, ids: bool) -> Iterator[Given]:
    """A prompt a line; lines of JSON where the first is one. Blank lines are none."""
    for number in itertools.count():
        line = file.readline(_LINE)
        if not line:
            return
        whole = line.endswith(b"\n") or len(line) < _LINE
        while not whole:
            rest = file.readline(_LINE)
            whole = not rest or rest.endswith(b"\n")
            line = b""
        try:
            text = line.decode("utf-8-sig" if number == 0 else "utf-8").removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            text = ""
        if number == 0 and text.strip():
            in_json = in_json or is_json(text)
        if text.strip():
            yield _of_line(text, in_json, ids)
        elif not line or (text == "" and line.strip()):
            yield Given(unreadable=True)


def _of_line(text: str, in_json: bool, ids: bool) -> Given:
    try:
        if not in_json:
            return Given(tuple(written_ids(text)) if ids else text)
        found = json_line(text, ids)
    except LandedError:
        return Given(unreadable=True)
    prompt = tuple(found.prompt) if isinstance(found.prompt, list) else found.prompt
    if found.target is None:
        return Given(prompt, unreadable=found.against is not None)
    return Given(prompt, (Answers((found.target,), () if found.against is None else (found.against,)),))


def _of_csv(name: str, column: str | None, delimiter: str) -> Iterator[Given]:
    rows = csv.reader(_text_lines(name), delimiter=delimiter)
    place = _check_columns(name, next(rows, []), column)
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error:  # a field of more than 128 KiB, or NUL
            yield Given(unreadable=True)
            continue
        if row:
            readable = place < len(row) and "\ufffd" not in row[place]
            yield Given(row[place]) if readable else Given(unreadable=True)


def _text_lines(name: str) -> Iterator[str]:
    """The lines of a file, with U+FFFD for what is no UTF-8."""
    with open(name, encoding="utf-8-sig", errors="replace", newline="") as file:
        yield from file


def _delimiter(suffix: str) -> str:
    return "\t" if suffix == ".tsv" else ","


def _check_columns(name: str, names: Sequence[str], column: str | None) -> int:
    """The place of the column of prompts: the one that is named, the only one, or ``prompt``."""
    wanted = column or (names[0] if len(names) == 1 else "prompt")
    if wanted not in names:
        there = cut(", ".join(names) or "none", 200)
        raise LandedError(f"{name} has no column {wanted!r}: name one of its columns with --column ({there}).")
    return list(names).index(wanted)


def _parquet(name: str) -> Any:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise LandedError(f"To read {name} needs the package pyarrow: pip install 'landed-jax[studies]'.") from None
    try:
        return parquet.ParquetFile(name)
    except (ArrowException, OSError) as error:
        raise LandedError(f"{name} cannot be read as Parquet: {first_line(error)}") from None


def _of_parquet(name: str, column: str | None) -> Iterator[Given]:
    file = _parquet(name)
    wanted = file.schema_arrow.names[_check_columns(name, file.schema_arrow.names, column)]
    for batch in file.iter_batches(batch_size=1024, columns=[wanted]):
        yield from map(_of_cell, batch.column(0).to_pylist())


def _of_cell(cell: Any) -> Given:
    if isinstance(cell, str):
        return Given(cell)
    if is_list(cell) and all(isinstance(token, int) for token in cell):
        return Given(tuple(cell))
    return Given(unreadable=True)


def _of_dataset(name: str, column: str | None) -> Iterator[Given]:
    try:
        import datasets  # pyright: ignore[reportMissingImports] # not a dependency
    except ImportError:
        raise LandedError(f"hf:{name} needs the package datasets: pip install datasets.") from None
    path, _, split = name.partition(":")
    try:
        rows = iter(datasets.load_dataset(path, split=split or "train", streaming=True))
        first = next(rows, {})
    except Exception as error:  # whatever the hub, the network or the data set's own reader raises
        raise LandedError(f"The data set {path} cannot be read: {first_line(error)}") from None
    names = list(first)
    wanted = names[_check_columns(f"The data set {path}", names, column)]
    return (_of_cell(row[wanted]) for row in itertools.chain([first], rows))


def _check_file(path: Path) -> None:
    if status_of(path) is None:
        raise LandedError(f"There is no file {path} of prompts.")
    if path.is_dir():
        raise LandedError(f"{path} is a folder: name a file of prompts.")


def _lines(name: str) -> int:
    with open(name, "rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b"")) or 1


def _standard_input() -> BinaryIO:
    if sys.stdin is None:
        raise LandedError("There is no standard input to read prompts from.")
    return sys.stdin.buffer
