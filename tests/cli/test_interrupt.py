"""Ctrl-C, at any moment: status 130, at once, and nothing half-written."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from landed_jax.loading import convert, load
from tests.fulldisk import ROOT

# A shell starts background jobs with SIGINT ignored, and children inherit it: the command is interrupted all the same.
LANDED = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from landed_jax.cli import main
print('started', flush=True)
main()
"""


def interrupted(seconds: float, *arguments: object) -> tuple[int, str, float]:
    """Exit status, what stood on stderr, and seconds from the signal to the end."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
    command = [sys.executable, "-c", LANDED, "--no-cache", *map(str, arguments)]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "started\n"
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        sent = time.monotonic()
        _, errors = process.communicate(timeout=60)
        return process.returncode, errors, time.monotonic() - sent


RUN = ("run", "The Colosseum is in the city of", "--effects")


@pytest.mark.slow
def test_a_run_ends_at_once() -> None:
    # From the imports to the tables: a run without kept programs takes about 6 seconds.
    for moment in (0.2, 1.6, 3.0, 4.4, 5.8):
        status, errors, seconds = interrupted(moment, *RUN)
        assert (status, errors) == (130, "\nlanded: interrupted\n"), f"after {moment} s"
        assert seconds < 5, f"after {moment} s"


@pytest.mark.slow
def test_a_conversion_leaves_all_of_it_or_what_the_next_one_goes_on_with(tmp_path: Path) -> None:
    dst, count = tmp_path / "deep" / "native", 7
    for i in range(count):
        status, errors, _ = interrupted(0.2 + 2 * i / count, "convert", "bundled", dst)
        if status == 0:  # it was done before
            break
        assert (status, errors) == (130, "\nlanded: interrupted\n")
        if dst.exists():
            assert load(dst).config == load().config
            shutil.rmtree(dst)
        left = list(dst.parent.iterdir()) if dst.parent.exists() else []
        assert all(path.name.startswith((".native.unfinished-", ".native.lock")) for path in left)
    else:
        convert("bundled", dst)
    assert load(dst).config == load().config
    assert list(dst.parent.iterdir()) == [dst]


def test_where_it_is_ignored_it_stays_ignored() -> None:
    code = (
        "import os, signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "from landed_jax.cli.interrupt import ends_on_interrupt\n"
        "with ends_on_interrupt(): os.kill(os.getpid(), signal.SIGINT); print('went on')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "went on\n"


def test_a_run_that_waits_for_its_prompt_ends() -> None:
    reading, writing = os.pipe()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", LANDED, "run"], env=environment, stdin=reading, stdout=subprocess.PIPE, stderr=-1
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == b"started\n"
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(timeout=20) == 130
        finally:
            process.kill()  # leaving the block waits for its end
    os.close(reading)
    os.close(writing)
