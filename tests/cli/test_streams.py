"""A reader that goes away and messages that nobody can read end no command in an error."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from landed_jax.cli.commands import status_of
from tests.fulldisk import ROOT

LANDED = "from landed_jax.cli import main; main()"


def closed_pipe() -> int:
    """The writing end of a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def landed(*arguments: str, stdout: int = subprocess.PIPE, stderr: int = subprocess.PIPE) -> tuple[int, str, str]:
    """Exit status, standard output and standard error."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", LANDED, *arguments]
    done = subprocess.run(command, env=environment, stdout=stdout, stderr=stderr, text=True, check=False, timeout=120)
    for handle in (stdout, stderr):
        if handle >= 0:
            os.close(handle)
    return done.returncode, done.stdout or "", done.stderr or ""


@pytest.mark.quick
@pytest.mark.parametrize(
    "arguments", [["--help"], ["testbed", "show", "facts"]]
)  # written by click's help, and by echo
def test_a_reader_that_goes_away_is_no_error(arguments: list[str]) -> None:
    assert landed(*arguments, stdout=closed_pipe()) == (0, "", "")


def test_messages_that_nobody_reads_change_no_status() -> None:
    assert landed("info", "no/such/folder", stderr=closed_pipe()) == (2, "", "")
    status, out, _ = landed("testbed", "show", "facts", stderr=closed_pipe())
    assert status == 0 and out.startswith("facts: ")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is Linux's")
def test_a_full_disk_behind_standard_output_is_one_sentence() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    status, _, errors = landed("testbed", "show", "facts", stdout=full)
    assert (status, errors) == (2, "landed: Standard output cannot be used: No space left on device.\n")
    assert landed("info", "no/such/folder", stderr=os.open("/dev/full", os.O_WRONLY))[0] == 2


LONG = "x" * 300
ODD = "caf\udce9"  # as Python has a byte that is no UTF-8


@pytest.mark.quick
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["info", LONG], "File name too long"),
        (["run", "hi", "--model", f"DIR/{LONG}"], "File name too long"),
        (["run", "hi", "--json", f"DIR/{LONG}"], "File name too long"),
        (["run", "hi", "--json", f"DIR/{LONG}/a"], "File name too long"),
        (["run", "hi", "--out", f"DIR/{LONG}.nc"], "File name too long"),
        (["convert", "bundled", f"DIR/{LONG}"], "File name too long"),
        (["convert", "bundled", f"DIR/new/{LONG}/new"], "File name too long"),
        (["convert", "bundled", "~nobody-of-this-name/x"], "its user has no home here"),
        (["testbed", "train", f"DIR/{LONG}"], "File name too long"),
        (["testbed", "train", f"DIR/{'y' * 250}"], "File name too long"),
        (["testbed", "score", "--json", f"DIR/{LONG}"], "File name too long"),
        (["verify", "bundled", "--against", f"DIR/{LONG}"], "File name too long"),
        (["info", f"DIR/{ODD}"], "is not UTF-8"),
        (["run", "hi", "--model", f"DIR/{ODD}"], "is not UTF-8"),
        (["convert", "bundled", f"DIR/new/{ODD}"], "is not UTF-8"),
        (["testbed", "train", f"DIR/{ODD}x"], "is not UTF-8"),
    ],
    ids=lambda value: " ".join(value)[:60].replace("\udce9", "_") if isinstance(value, list) else "",
)
def test_names_that_no_file_can_have(
    tmp_path: Path, arguments: list[str], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ODD).mkdir()
    pytest.importorskip("torch") if arguments[0] == "verify" else None
    assert status_of([argument.replace("DIR", str(tmp_path)) for argument in arguments]) == 2
    errors = capfd.readouterr().err
    assert errors.startswith("landed: ") and errors.count("\n") == 1 and said in errors and len(errors) < 600
    assert os.listdir(os.fsencode(tmp_path)) == [b"caf\xe9"]
