"""One new folder, written by all processes of a distributed program (`jax.distributed`)."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np

from landed_jax.errors import LandedError
from landed_jax.files.atomic_folder import new_folder

_MESSAGE = 4096  # bytes, broadcast from the first process to the others


@contextlib.contextmanager
def new_folder_of_all(dst: Path) -> Iterator[Path]:
    """`new_folder`, shared by all processes: it is renamed to `dst` after all have written it and none has failed.

    Raises:
        LandedError: on every process: the error of `new_folder` on the first, or the failure of another process.
    """
    if jax.process_count() == 1:
        with new_folder(dst) as folder:
            yield folder
        return
    from jax.experimental import multihost_utils

    with contextlib.ExitStack() as on_first:  # stays empty on all processes but the first
        folder = Path(_from_first(lambda: str(on_first.enter_context(new_folder(dst)))))
        problem = None
        try:
            yield folder
        except Exception as error:
            problem = error
        failed = np.asarray(multihost_utils.process_allgather(np.array(problem is not None)))
        if problem is not None:
            raise problem
        if failed.any():
            raise LandedError(f"{dst} was not written: process {int(np.argmax(failed))} failed.")
        _from_first(lambda: str(on_first.close()))


def _from_first(work: Callable[[], str]) -> str:
    """The result of `work` on the first process, given to all processes; its failure is raised on all of them."""
    from jax.experimental import multihost_utils

    problem, message = None, np.zeros(_MESSAGE, np.uint8)
    if jax.process_index() == 0:
        try:
            said = "+" + work()
        except Exception as error:
            problem, said = error, f"-{error}"
        encoded = said.encode(errors="replace")[:_MESSAGE]
        message[: len(encoded)] = np.frombuffer(encoded, np.uint8)
    told = bytes(np.asarray(multihost_utils.broadcast_one_to_all(message))).rstrip(b"\0").decode(errors="replace")
    if problem is not None:
        raise problem
    if told.startswith("-"):
        raise LandedError(told[1:])
    return told[1:]
