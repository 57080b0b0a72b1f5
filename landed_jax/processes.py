"""What the processes of a distributed program (`jax.distributed`) do together: gather values, write one folder."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import jax
import numpy as np
from jax.core import Tracer

from landed_jax.errors import LandedError
from landed_jax.files.atomic_folder import new_folder

T = TypeVar("T")

_MESSAGE = 4096  # bytes, broadcast from the first process to the others


def spans_processes(tree: object) -> bool:
    """Whether an array of the tree has parts that only other processes hold: its values are to be gathered first.

    >>> spans_processes({"here": jax.numpy.ones(2)})
    False
    """
    return any(map(_is_elsewhere, jax.tree.leaves(tree)))


def gathered(tree: T) -> T:
    """The tree with all values of those arrays of which other processes hold parts, as NumPy's.

    If there is such an array, all processes call it, with the same tree; otherwise nothing is sent and nothing changes.

    >>> gathered({"here": 3})
    {'here': 3}
    """
    return jax.tree.map(lambda leaf: _gathered(leaf) if _is_elsewhere(leaf) else leaf, tree)


def fetched(tree: T) -> T:
    """The tree with all arrays as NumPy's, in one transfer, after `gathered`."""
    return jax.device_get(gathered(tree))


def by_first(work: Callable[[], object]) -> None:
    """Do something on the first process, when all have come here; a failure is raised on all of them.

    Raises:
        LandedError: what `work` raises, on the others.
    """

    def done() -> str:
        work()
        return ""

    _from_first(done)


def _is_elsewhere(leaf: object) -> bool:
    return isinstance(leaf, jax.Array) and not isinstance(leaf, Tracer) and not leaf.is_fully_addressable


def _gathered(leaf: jax.Array) -> np.ndarray:
    if leaf.is_fully_replicated:
        return np.asarray(leaf.addressable_data(0))
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(leaf, tiled=True))


@contextlib.contextmanager
def new_folder_of_all(dst: Path, job: str | None = None) -> Iterator[Path]:
    """`new_folder`, shared by all processes: it is renamed to `dst` after all have written it and none has failed.

    Several processes always begin anew.

    Raises:
        LandedError: on every process: the error of `new_folder` on the first, or the failure of another process.
    """
    if jax.process_count() == 1:
        with new_folder(dst, job) as folder:
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
