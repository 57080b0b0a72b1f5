"""Programs of several processes, on this machine."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.compiling import XLA_FLAGS
from tests.fulldisk import ROOT

LIMIT = 280
"""Seconds that a program may take."""
COMMAND = ("-c", "from landed_jax.cli import main; main()")


class Done(NamedTuple):
    status: int
    stdout: str
    stderr: str


def join() -> None:
    """Join the other processes, as the three last arguments of this program say."""
    import jax

    port, count, index = map(int, sys.argv[-3:])
    if count > 1:
        address = f"127.0.0.1:{port}"
        jax.distributed.initialize(address, count, index, heartbeat_timeout_seconds=10, shutdown_timeout_seconds=60)


def together(count: int, *arguments: object, devices: int = 1) -> list[Done]:
    """What becomes of as many processes of a Python program, which ends with `join`'s arguments."""
    with started(count, arguments, lambda port, index: [port, count, index], devices) as processes:
        return [finished(process) for process in processes]


def landed(count: int, *arguments: object, **how: Any) -> list[Done]:
    """What becomes of a command that as many processes run; of one without ``--hosts``."""
    with started_command(count, *arguments, **how) as processes:
        return [finished(process) for process in processes]


def started_command(
    count: int, *arguments: object, program: Sequence[str] = COMMAND, devices: int = 1, **how: Any
) -> contextlib.AbstractContextManager[list[subprocess.Popen[str]]]:
    """The processes of a command."""

    def hosts(port: int, index: int) -> list[object]:
        named = f"coordinator=127.0.0.1:{port},processes={count},process={index}"
        return ["--hosts", named] if count > 1 else []

    return started(count, (*program, *arguments), hosts, devices, **how)


@contextlib.contextmanager
def started(
    count: int,
    arguments: Sequence[object],
    more: Callable[[int, int], Sequence[object]],
    devices: int,
    folders: Sequence[Path] = (),
    piped: str | None = None,
) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes of Python with these arguments, and `more` by the port and each one's number; killed at the end.

    Args:
        folders: in which each runs.
        piped: the first one's standard input.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = f"--xla_force_host_platform_device_count={devices} {XLA_FLAGS}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags, "COLUMNS": "80"}
    with contextlib.ExitStack() as stack:
        processes = []
        for index in range(count):
            words = [sys.executable, *map(str, [*arguments, *more(port, index)])]
            with tempfile.TemporaryFile("w+", encoding="utf-8") as given:
                given.write(piped or "" if index == 0 else "")
                given.seek(0)
                how = {"stdin": given, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
                folder = folders[index] if folders else ROOT
                processes.append(subprocess.Popen(words, env=environment, cwd=folder, **how))
            stack.callback(processes[-1].kill)
        yield processes


def finished(process: subprocess.Popen[str]) -> Done:
    stdout, stderr = process.communicate(timeout=LIMIT)
    return Done(process.returncode, stdout, stderr)
