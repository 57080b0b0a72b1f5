"""Keep the memory that a process frees, for programs that run again and again on a CPU."""

import contextlib
import ctypes
import sys

# From glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, in place of handing it back to the system each time.

    On a CPU every call of a compiled program takes its results and what it holds meanwhile from the C library. glibc
    hands large pieces back when they are freed, and the system clears each page anew for the next call: about a tenth
    of an attribution of all positions, more in virtual machines (``docs/performance.md`` has the ratios). After this
    call the pages stay, once the first few programs have run. In return the process remains as large as it has ever
    been.

    Call it once, before the first computation; arenas of threads that run already stay as they are. It holds for the
    whole process, with all other libraries in it, so nothing in this package calls it for you. On an accelerator it
    changes nothing for the device's memory.

    Returns:
        Whether the C library took the settings: False where it is not glibc (macOS, Windows, musl).

    References:
        ``mallopt(3)``: M_MMAP_MAX, M_TRIM_THRESHOLD, M_ARENA_MAX.

    >>> import subprocess
    >>> code = "import landed_jax; print(landed_jax.keep_freed_memory())"
    >>> subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout in ("True\\n", "False\\n")
    True
    """
    if sys.platform != "linux":
        return False
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        settings = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: -1, M_ARENA_MAX: 1}
        return all([mallopt(name, value) == 1 for name, value in settings.items()])
    return False
