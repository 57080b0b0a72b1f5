"""Messages between the processes of a distributed program, by way of JAX's coordination service.

They need no devices and no equal shapes, as collectives do, and a process that waits for one learns of another's
failure. JAX has no public name for the service's client: this file alone uses it.
"""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
from jax.sharding import Mesh

from landed_jax.errors import LandedError

_POLL = 1000  # milliseconds between two looks for a failure
_numbers = itertools.count()


class Exchange:
    """A place for messages of one task, which all processes do at the same time."""

    def __init__(self, place: str) -> None:
        self.index, self.count = jax.process_index(), jax.process_count()
        self._place = place

    def put(self, name: str, data: bytes) -> None:
        """Leave a message, whose name is new."""
        client().key_value_set_bytes(f"{self._place}/{name}", data)

    def take(self, name: str, *, last: bool = True) -> bytes:
        """Wait for a message, and read it.

        Args:
            last: whether nobody else reads it.

        Raises:
            LandedError: if a process failed meanwhile.
        """
        key = f"{self._place}/{name}"
        while True:
            try:
                found = client().blocking_key_value_get_bytes(key, _POLL)
            except jax.errors.JaxRuntimeError as error:
                if "DEADLINE_EXCEEDED" not in str(error):
                    raise
                self._check()
                continue
            if last:
                client().key_value_delete(key)
            return found

    def of_first(self, name: str, work: Callable[[], bytes]) -> bytes:
        """What the first process's `work` gives, on every process.

        Raises:
            LandedError: if a process failed.
        """
        if self.index == 0:
            found = work()
            self.put(name, found)
            return found
        return self.take(name, last=False)

    def failed(self, message: str) -> None:
        """Tell all others that this process has failed; of several failures the first counts."""
        said = f"{self.own} {message}"
        try:
            client().key_value_set(f"{self._place}/failed", said)
        except jax.errors.JaxRuntimeError as error:  # another was faster
            if "ALREADY_EXISTS" not in str(error):
                raise

    @property
    def own(self) -> str:
        """How a failure of this process begins."""
        return f"Process {self.index} of {self.count} failed:"

    def there(self, name: str) -> bool:
        """Whether there is such a message."""
        return self._found(name) is not None

    def failure(self) -> str | None:
        """How a process failed, if one has."""
        return self._found("failed")

    def _found(self, name: str) -> str | None:
        try:
            return client().key_value_try_get(f"{self._place}/{name}")
        except jax.errors.JaxRuntimeError as error:
            if "NOT_FOUND" not in str(error):
                raise
            return None

    def _check(self) -> None:
        if said := self.failure():
            raise LandedError(said)


@contextmanager
def exchange(name: str) -> Iterator[Exchange]:
    """An exchange for a task that all processes do, in the same order as other tasks; a failure in it is told to all.

    Args:
        name: of the kind of task.
    """
    found = Exchange(f"landed/{name}/{next(_numbers)}")
    try:
        yield found
    except BaseException as error:
        if found.failure() is None:
            found.failed(str(error) or type(error).__name__)
        raise


@contextmanager
def all_or_none(name: str) -> Iterator[None]:
    """What all processes do, each by itself: it is done on all of them, or raises on all of them.

    Raises:
        LandedError: how another process failed.
    """
    if jax.process_count() == 1:
        yield
        return
    with exchange(name) as found:
        yield
        found.put(f"done {found.index}", b"1")
        for index in range(found.count):
            found.take(f"done {index}", last=False)


def spans(mesh: Mesh) -> bool:
    """Whether a mesh has devices of several processes."""
    return len({device.process_index for device in mesh.devices.flat}) > 1


def client() -> Any:
    """The client of JAX's coordination service."""
    from jax._src import distributed

    return distributed.global_state.client
