"""Prompts from everything that they are kept in, one after another; what cannot be read is counted."""

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from landed_jax import LandedError
from landed_jax.studies._sources import Given, source_of
from landed_jax.tasks import Answers


def prompts(source: object, **how: Any) -> list[object]:
    return [None if given.unreadable else given.prompt for given in source_of(source, **how).read()]


@pytest.mark.quick
def test_text_and_lines_of_json(tmp_path: Path) -> None:
    text = tmp_path / "prompts.txt"
    text.write_bytes("\ufeffTo be\r\n\n  or not\n".encode() + b"\xff\xfe\n" + "σ".encode())
    assert prompts(text) == ["To be", "  or not", None, "σ"]
    assert prompts(text) == prompts(str(text))
    lines = tmp_path / "prompts.jsonl"
    rows = ["a", {"prompt": "b", "target": " c", "against": " d"}, {"prompt": ""}, {"other": 1}, ["x"]]
    lines.write_text("\n".join(map(json.dumps, rows)) + "\nnot JSON\n")
    found = list(source_of(lines).read())
    assert [given.prompt for given in found[:3]] == ["a", "b", ""]
    assert found[1].answers == (Answers((" c",), (" d",)),) and all(given.unreadable for given in found[3:])
    assert len(found) == 6 and source_of(lines).count == 6
    ids = tmp_path / "ids.txt"
    ids.write_text("1 2\n[3, 4]\nx")
    assert prompts(ids, ids=True) == [(1, 2), (3, 4), None]


def test_tables(tmp_path: Path) -> None:
    csv = tmp_path / "table.csv"
    csv.write_text('number,text\n1,"a, b"\n2,"two\nlines"\n3\n4,\n')
    assert prompts(csv, column="text") == ["a, b", "two\nlines", None, ""]
    with pytest.raises(LandedError, match=r"no column 'prompt'.*number, text"):
        source_of(csv)
    tsv = tmp_path / "table.tsv"
    tsv.write_text("prompt\tother\na\tb\n")
    assert prompts(tsv) == ["a"]


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is the reader that this test is about")
    from pyarrow import parquet

    file = tmp_path / "table.parquet"
    parquet.write_table(pyarrow.table({"text": ["a", None, "b"], "n": [1, 2, 3]}), file)
    assert prompts(file, column="text") == ["a", None, "b"] and source_of(file, column="text").count == 3
    file.write_bytes(b"PAR1 nothing")
    with pytest.raises(LandedError, match="cannot be read as Parquet"):
        source_of(file)


def test_standard_input_tasks_and_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b'"a"\n"b"\n')))
    assert prompts("-") == ["a", "b"]
    drawn = list(source_of("testbed:induction", count=4, seed=2).read())
    assert len(drawn) == 4 and all(given.answers for given in drawn)
    assert drawn == list(source_of("testbed:induction", count=4, seed=2).read())
    assert list(source_of([[1, 2], "a"]).read()) == [Given((1, 2)), Given("a")]


def test_what_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    for asked, said in (
        ("task:nothing", "no task 'nothing'"),
        (str(tmp_path / "none.txt"), "no file"),
        (str(tmp_path), "is a folder"),
        (5, "Prompts are a file"),
        ([5], "A prompt is text"),
        ("hf:a/b", r"needs the package datasets|cannot be read"),
    ):
        with pytest.raises(LandedError, match=said):
            list(source_of(asked).read())


def test_a_line_without_end_is_no_prompt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("landed_jax.studies._sources._LINE", 10)
    file = tmp_path / "prompts.txt"
    file.write_text("a" * 35 + "\nb\n" + "c" * 40)
    assert prompts(file) == [None, "b", None]
