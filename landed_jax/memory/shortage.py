"""Reports of too little memory, in one sentence: before a computation where it is foreseeable, or from its error."""

import errno
import shutil
from pathlib import Path

from landed_jax.errors import LandedError


def require_memory(needed: int, available: int, what: str, instead: str = "") -> None:
    """Refuse what cannot fit: a system that overcommits memory would kill the process during the work.

    Args:
        needed: a lower bound of the bytes that `what` takes.
        available: bytes that this process may use.
        instead: a sentence that says what to do.

    Raises:
        LandedError: if `needed` is more than `available`.

    >>> require_memory(3 << 30, 2 << 30, "This model's weights")
    Traceback (most recent call last):
    landed_jax.errors.LandedError: This model's weights take at least 3.0 GiB, and there are 2.0 GiB of memory.
    """
    if needed > available:
        raise LandedError(
            f"{what} take at least {human_bytes(needed)}, and there are {human_bytes(available)} of memory."
            f"{f' {instead}' if instead else ''}"
        )


def require_disk(folder: Path, needed: int) -> None:
    """Refuse weights that the disk of a folder has no room for, as the system does when it is full.

    Raises:
        OSError: saying so.
    """
    if (free := shutil.disk_usage(folder).free) < needed:
        raise OSError(errno.ENOSPC, f"the weights take {human_bytes(needed)}, and {human_bytes(free)} are free")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception of Python, NumPy or XLA means that memory is exhausted.

    >>> is_out_of_memory(MemoryError()), is_out_of_memory(ValueError("out of range"))
    (True, False)
    """
    if type(error).__name__ in ("JaxRuntimeError", "XlaRuntimeError"):
        return any(words in str(error) for words in ("RESOURCE_EXHAUSTED", "Out of memory"))
    if isinstance(error, ImportError):  # a library that cannot be mapped
        return any(words in str(error).lower() for words in ("cannot allocate", "failed to map segment"))
    return isinstance(error, MemoryError)


def out_of_memory(error: BaseException) -> str:
    """The message for a user, from an exception for which `is_out_of_memory` is true."""
    said = str(error).strip().splitlines()
    detail = f" ({said[0][:200]})" if said else ""
    return (
        f"There is not enough memory{detail}: take a shorter prompt, fewer sections or a smaller model, or "
        "leave the weights on disk (--stream); "
        "`landed info MODEL --length N` says what a trace takes."
    )


def human_bytes(size: int) -> str:
    """
    >>> human_bytes(512), human_bytes(3 * 2**20)
    ('512 B', '3.0 MiB')
    """
    value, units = float(size), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value /= 1024
        units.pop(0)
    return f"{value:.0f} B" if units[0] == "B" else f"{value:.1f} {units[0]}"
