"""Keep the memory that a process frees, for programs that run again and again on a CPU."""

import contextlib
import ctypes
import sys

# From glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, in place of handing it back to the system each time.

    On a CPU every call of a compiled program takes its results and what it holds meanwhile from the C library. glibc
    hands large pieces back when they are freed, and the system clears each page anew for the next call. After this
    call the pages stay, once the first few calls have made room; ``docs/performance.md`` says what that is worth. In
    return the process never shrinks (gaps between what is in use can make it grow beyond what it needs at once), and
    all threads take their memory from one heap.

    Call it once, before the first computation; arenas of threads that run already stay as they are. It holds for the
    whole process, with all other libraries in it, so nothing in this package calls it for you. On an accelerator it
    changes nothing for the device's memory.

    Returns:
        Whether glibc took the settings: False on macOS, on Windows and with musl. Of an allocator that was loaded in
        glibc's place (jemalloc, tcmalloc) it says nothing.

    References:
        ``mallopt(3)``: M_MMAP_MAX, M_TRIM_THRESHOLD, M_ARENA_MAX.

    >>> import subprocess, sys  # in a process of its own here, as it cannot be undone
    >>> code = "import landed_jax; print(landed_jax.keep_freed_memory())"
    >>> done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    >>> done.stdout.strip() in ("True", "False")
    True
    """
    if sys.platform != "linux":
        return False
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        settings = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: -1, M_ARENA_MAX: 1}
        return all([mallopt(name, value) == 1 for name, value in settings.items()])
    return False
