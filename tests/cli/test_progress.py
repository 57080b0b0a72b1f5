"""What a command is doing, on stderr: a line that moves on a terminal, a plain line for what takes long elsewhere."""

import io
import os
import sys
import threading
import time

import pytest

from landed_jax.cli import progress
from landed_jax.cli.progress import status_line

STEP = "Compiling [red] the forward\x1b[31m pass"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TERM", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS", "CI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, patience: float) -> str:
    """What a terminal gets from two steps, the second of which takes longer than the patience for plain lines."""
    monkeypatch.setattr(progress, "PATIENCE", patience)
    ours, theirs = os.openpty()
    try:
        with open(theirs, "w", encoding="utf-8", closefd=False) as stream, monkeypatch.context() as patched:
            patched.setattr(sys, "stderr", stream)
            with status_line("Reading weights") as status:
                status.report(1, 4)
                status(STEP)
                time.sleep(0.3)
            stream.write("\x04")
            stream.flush()
        shown = ""
        while not shown.endswith("\x04"):
            shown += os.read(ours, 1 << 16).decode()
        return shown[:-1]
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_terminal_shows_the_step_and_its_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = on_a_terminal(monkeypatch, 60.0)
    assert "Compiling [red] the forward\\x1b[31m pass" in shown and "0:00:00" in shown
    assert shown.rstrip().endswith(("\x1b[2K", "\x1b[?25h", "\x1b[1A\x1b[2K"))  # erased, and the cursor is back
    assert "\x1b[31m pass" not in shown.replace("\\x1b[31m", "")


@pytest.mark.parametrize(
    "environment", [{"TERM": "dumb"}, {"TTY_COMPATIBLE": "0"}, {"TTY_INTERACTIVE": "0"}], ids=lambda e: next(iter(e))
)
def test_a_terminal_that_cannot_rewrite_a_line(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    shown = on_a_terminal(monkeypatch, 0.05)
    assert shown == "landed: Compiling [red] the forward\\x1b[31m pass: 0 seconds so far\r\n"


@pytest.mark.parametrize("environment", [{}, {"FORCE_COLOR": "1"}, {"CI": "true"}, {"TTY_COMPATIBLE": "1"}], ids=str)
def test_a_pipe_gets_one_line_for_what_takes_long(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(progress, "PATIENCE", 0.05)
    threads = threading.active_count()
    with status_line("Reading weights") as status:
        status(STEP)
        time.sleep(0.2)
        status("Comparing")
    time.sleep(0.1)
    assert capfd.readouterr().err == "landed: Compiling [red] the forward\\x1b[31m pass: 0 seconds so far\n"
    assert threading.active_count() == threads


def test_without_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with status_line("Reading weights") as status:
        status(STEP)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with status_line("Reading weights") as status:
        status.report(1, 2, "loss 0.5")
