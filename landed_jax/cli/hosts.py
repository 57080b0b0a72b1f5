"""`--hosts`: one command that several processes run together, under `jax.distributed`.

The first process prints and writes; the others compute with it, and say nothing but why they failed. Whatever ends one
process ends all: an error is told to the others, and a process that is lost is missed after `HEARTBEAT` seconds.
"""

import contextlib
import functools
import io
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from landed_jax.errors import LandedError, first_line, shown
from landed_jax.printable import printable

if TYPE_CHECKING:  # imports JAX
    from landed_jax.exchange import Exchange

HEARTBEAT = 10
"""Seconds of silence after which a process counts as lost."""
_GRACE = 1.0  # seconds for a process to find the error itself that another has found
_FAREWELL = 30.0  # seconds that a process which has failed waits for the others to learn of it
_AT_THE_END = 24 * 3600  # seconds that processes which have done wait for the others: a lost one is missed before

_joined: "Exchange | None" = None
_ending = threading.Event()  # this process has failed by itself, and says so


def several_hosts(command: Callable[..., None]) -> Callable[..., None]:
    """``--hosts`` for a command, whose body all processes then run."""

    @functools.wraps(command)
    def together(*args: Any, hosts: str | None, **kwargs: Any) -> None:
        with contextlib.nullcontext() if hosts is None else _together(hosts):
            command(*args, **kwargs)

    option = click.option(
        "--hosts",
        metavar="auto|coordinator=HOST:PORT,processes=N,process=I",
        help="Run with the processes of a TPU slice, of SLURM or of Open MPI (auto), or with those that are named.",
    )
    return option(together)


def is_first() -> bool:
    """Whether this process prints and writes for all."""
    return _joined is None or _joined.index == 0


def is_alone() -> bool:
    """Whether no other process runs this command."""
    return _joined is None or _joined.count == 1


def of_first(name: str, work: Callable[[], str]) -> str:
    """What `work` gives on the first process, on all of them: what only that one can read."""
    return work() if _joined is None else _joined.of_first(name, lambda: work().encode()).decode()


def leave(status: int) -> None:
    """End this process now if it has failed and others run with it: at exit JAX would wait for them to succeed."""
    if _joined is None or is_alone() or not status:
        return
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    with contextlib.suppress(Exception):  # of JAX's service, if the first process is lost meanwhile
        everyone, others = range(_joined.count), range(1, _joined.count)
        _joined.put(f"knows {_joined.index}", b"1")
        _await(_joined, [f"knows {index}" for index in everyone])
        if _joined.index:
            _joined.put(f"left {_joined.index}", b"1")
        else:  # JAX's service ends with the first process
            _await(_joined, [f"left {index}" for index in others])
            time.sleep(0.2)
    os._exit(status)


def _await(joined: "Exchange", messages: list[str]) -> None:
    until = time.monotonic() + _FAREWELL
    for name in messages:
        while time.monotonic() < until and not joined.there(name):
            time.sleep(0.05)


@contextlib.contextmanager
def _together(hosts: str) -> Iterator[None]:
    global _joined
    named = named_hosts(hosts)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # or XLA tells a lost process in many lines
    _pass_on_messages()
    _join(named)
    from landed_jax.exchange import Exchange

    _joined = Exchange("landed/command")
    threading.Thread(target=_watch, args=(_joined, sys.stderr), daemon=True, name="hosts").start()
    try:
        with contextlib.ExitStack() as silence:
            if not is_first():
                nowhere = silence.enter_context(open(os.devnull, "w", encoding="utf-8"))
                silence.enter_context(contextlib.redirect_stdout(nowhere))
                silence.enter_context(contextlib.redirect_stderr(nowhere))
            yield
    except BaseException as error:
        if _joined.count > 1:
            _await_loss(error)
            _ending.set()
            _joined.failed(first_line(error) if str(error) else type(error).__name__)
        raise


def named_hosts(text: str) -> dict[str, Any]:
    """The arguments of `jax.distributed.initialize`; none for ``auto``.

    Raises:
        LandedError: for what is neither.

    >>> named_hosts("coordinator=10.0.0.1:1234,processes=2,process=0")
    {'coordinator_address': '10.0.0.1:1234', 'num_processes': 2, 'process_id': 0}
    """
    if text == "auto":
        return {}
    parts: dict[str, str] = {}
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        parts[name] = value
    numbers = [parts.get(name, "") for name in ("processes", "process")]
    if (
        parts.keys() != {"coordinator", "processes", "process"}
        or not re.fullmatch(r"\S+:\d{1,5}", parts["coordinator"])
        or not all(re.fullmatch(r"\d{1,6}", number, re.ASCII) for number in numbers)
        or int(numbers[1]) >= int(numbers[0])
    ):
        raise LandedError(
            f"--hosts {shown(text)} is not understood: write auto, or coordinator=HOST:PORT,processes=N,process=I "
            "with I from 0 to N − 1."
        )
    count, index = map(int, numbers)
    return {"coordinator_address": parts["coordinator"], "num_processes": count, "process_id": index}


def _join(named: dict[str, Any]) -> None:
    import jax

    # Of two programs that run at once the CPUs of two processes could begin with different ones, and wait for ever.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    try:
        jax.distributed.initialize(**named, heartbeat_timeout_seconds=HEARTBEAT, shutdown_timeout_seconds=_AT_THE_END)
    except (RuntimeError, ValueError) as error:
        if not named:
            raise LandedError(
                f"--hosts auto found no TPU slice, SLURM or Open MPI that says which processes there are "
                f"({first_line(error)}): write coordinator=HOST:PORT,processes=N,process=I."
            ) from None
        raise LandedError(f"The processes of --hosts did not find each other: {first_line(error)}") from None


def _pass_on_messages() -> None:
    """Let what XLA itself writes to both streams go through `lost_process`; what Python writes does not."""
    if not isinstance(sys.stdout, io.TextIOWrapper) or sys.stderr is None:  # closed, or another program's
        return
    _no_core_dumps()
    with contextlib.suppress(OSError):  # without it XLA's own words are shown
        own = os.dup(1), os.dup(2)
        program = [sys.executable, "-I", "-S", str(Path(__file__).with_name("lost_process.py"))]
        reader = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=own[1])
        assert reader.stdin is not None  # a pipe
        for number in (1, 2):
            os.dup2(reader.stdin.fileno(), number)
        reader.stdin.close()
        sys.stdout.flush()
        encoding, errors = sys.stdout.encoding, sys.stdout.errors
        sys.stdout = open(own[0], "w", encoding=encoding, errors=errors)  # noqa: SIM115 # until the process ends
        how = {"buffering": 1, "encoding": "utf-8", "errors": "backslashreplace"}
        sys.stderr = open(own[1], "w", **how)  # noqa: SIM115 # until the process ends


def _no_core_dumps() -> None:
    """JAX ends a process by `abort` where another is lost, and a dump of the weights helps nobody."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _watch(joined: "Exchange", stderr: Any) -> None:
    """End this process after another has told a failure, whatever it waits for."""
    while (said := joined.failure()) is None:
        time.sleep(0.5)
    time.sleep(_GRACE)
    if _ending.is_set():
        return
    from landed_jax.files.unfinished import publishing, remove_unfinished

    publishing.acquire()  # and never release it
    remove_unfinished()
    stderr.write(f"landed: {printable(said)}\n")
    leave(2)


def _await_loss(error: BaseException) -> None:
    """What fails in the network has another process's end as its cause, which is told soon, or was not it."""
    from jax.errors import JaxRuntimeError

    if isinstance(error, JaxRuntimeError):
        time.sleep(2 * HEARTBEAT)
