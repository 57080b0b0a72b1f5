"""A setting of the C library that keeps freed memory in the process, for programs that run many times on a CPU."""

import contextlib
import ctypes
import sys

# From glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> bool:
    """Keep freed memory in this process instead of returning it to the system each time.

    On a CPU every call of a compiled program allocates its results and temporaries from the C library. glibc returns
    large blocks to the system when they are freed, and the system clears every page again for the next call. With this
    setting the pages stay in the process, after the first few calls have allocated them; the gain is measured in
    ``docs/performance.md``. In return the process does not shrink (fragmentation can make it grow beyond its largest
    need), and all threads allocate from one heap.

    Call it once, before the first computation; existing arenas of running threads are not affected. The setting is
    for the process and all libraries in it, so this package never makes it by itself. It has no effect on the memory
    of an accelerator.

    Returns:
        Whether glibc accepted the settings: False on macOS, on Windows and with musl. The value says nothing about an
        allocator that replaces glibc's (jemalloc, tcmalloc).

    References:
        ``mallopt(3)``: M_MMAP_MAX, M_TRIM_THRESHOLD, M_ARENA_MAX.

    >>> import subprocess, sys  # in a process of its own here, as it cannot be undone
    >>> code = "import landed_jax; print(landed_jax.memory.keep_freed_memory())"
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
