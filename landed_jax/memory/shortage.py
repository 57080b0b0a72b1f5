"""Too little memory, said in one sentence: before the work where it can be known, else from the error that comes."""

from landed_jax.errors import LandedError


def require_memory(needed: int, available: int, what: str) -> None:
    """Refuse what cannot fit. A system that promises memory it has not would kill the process halfway.

    Args:
        needed: bytes that `what` takes at the very least.
        available: bytes that this process may use.

    Raises:
        LandedError: if there are fewer.

    >>> require_memory(3 << 30, 2 << 30, "This model's weights")
    Traceback (most recent call last):
    landed_jax.errors.LandedError: This model's weights take at least 3.0 GiB, and there are 2.0 GiB of memory.
    """
    if needed > available:
        raise LandedError(
            f"{what} take at least {human_bytes(needed)}, and there are {human_bytes(available)} of memory."
        )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this is how Python, NumPy or XLA say that memory has run out.

    >>> is_out_of_memory(MemoryError()), is_out_of_memory(ValueError("out of range"))
    (True, False)
    """
    if type(error).__name__ in ("JaxRuntimeError", "XlaRuntimeError"):
        return any(words in str(error) for words in ("RESOURCE_EXHAUSTED", "Out of memory"))
    if isinstance(error, ImportError):  # a library that cannot be mapped
        return any(words in str(error).lower() for words in ("cannot allocate", "failed to map segment"))
    return isinstance(error, MemoryError)


def out_of_memory(error: BaseException) -> str:
    """What a user is told then."""
    said = str(error).strip().splitlines()
    detail = f" ({said[0][:200]})" if said else ""
    return (
        f"There is not enough memory{detail}: take a shorter prompt, fewer sections or a smaller model; "
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
