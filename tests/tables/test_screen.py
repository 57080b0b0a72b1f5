"""How wide what is printed is: a terminal's width, COLUMNS, and a width of its own in a pipe."""

import fcntl
import io
import os
import re
import struct
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from landed_jax.report.console import print_report
from landed_jax.tables.draw import text_of
from landed_jax.tables.quoted import Quoted
from landed_jax.tables.screen import NARROWEST, Screen, standard_output
from landed_jax.tables.table import Column, Paragraph, Table

TABLE = Table(
    "Largest landed contributions",
    [
        Column("write", left=True),
        Column("from", left=True, drop=9),
        *(Column(f"logit{i}", drop=9 - i) for i in range(7)),
    ],
    [["29.neuron.14335", Quoted(" [red]北京"), *(f"+{i}.1234" for i in range(7))]],
    elsewhere="--json",
)
# What CI systems, editors and users set, and what changes how Rich sees its output.
ENVIRONMENTS = {
    "plain": {},
    "ci": {"CI": "true", "GITHUB_ACTIONS": "true"},
    "colour forced": {"FORCE_COLOR": "1"},
    "colour off": {"NO_COLOR": "1"},
    "dumb": {"TERM": "dumb"},
    "unknown": {"TERM": "unknown"},
    "compatible": {"TTY_COMPATIBLE": "1", "TTY_INTERACTIVE": "0"},
    "incompatible": {"TTY_COMPATIBLE": "0"},
    "jupyter": {"JUPYTER_COLUMNS": "33", "JUPYTER_LINES": "9"},
}


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COLUMNS", "LINES", *(name for settings in ENVIRONMENTS.values() for name in settings)):
        monkeypatch.delenv(name, raising=False)


@contextmanager
def terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    """Standard output is a terminal; what is given reads what it shows."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))

    def shown() -> str:
        stream.write("\x04")  # what comes in pieces has come when this has
        stream.flush()
        text = ""
        while not text.endswith("\x04"):
            text += os.read(ours, 1 << 16).decode()
        return text[:-1]

    try:
        with open(theirs, "w", encoding="utf-8", closefd=False) as stream, monkeypatch.context() as patched:
            patched.setattr(sys, "stdout", stream)
            yield shown
    finally:
        os.close(ours)
        os.close(theirs)


def plain(text: str) -> list[str]:
    """The lines without Rich's styles."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text).replace("\r\n", "\n").splitlines()


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("width", [40, 63, 80, 200])
def test_a_terminal(environment: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENTS[environment].items():
        monkeypatch.setenv(name, value)
    with terminal(width, monkeypatch) as shown:
        print_report([TABLE])
        assert plain(shown()) == expected(width)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("columns", [None, 40, 66, 80, 150])
def test_a_pipe(environment: str, columns: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENTS[environment].items():
        monkeypatch.setenv(name, value)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    print_report([TABLE])
    sys.stdout.flush()
    text = sys.stdout.buffer.getvalue().decode()
    assert plain(text) == expected(columns or 120)
    assert ("\x1b" in text) == (environment in ("colour forced", "compatible"))  # who asks for it gets it


def expected(width: int) -> list[str]:
    lines = text_of([TABLE], Screen(width)).splitlines()
    assert any(line.startswith("29.neuron.14335 ") for line in lines)
    return lines


def test_columns_come_first_and_forty_is_the_least(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, width in (("100", 100), ("7", NARROWEST), ("0", 120), ("-3", 120), ("wide", 120), ("", 120)):
        monkeypatch.setenv("COLUMNS", value)
        monkeypatch.setattr(sys, "stdout", io.StringIO())
        assert standard_output().width == width
    monkeypatch.setattr(sys, "stdout", None)  # a program without a console
    assert standard_output() == Screen(120, "utf-8")


def test_a_stream_that_lacks_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    print_report([Paragraph(["|γ|/σ of", Quoted("é"), "±1"])])
    sys.stdout.flush()
    assert sys.stdout.buffer.getvalue() == b"|gamma|/sigma of '\\xe9' +-1\n"
