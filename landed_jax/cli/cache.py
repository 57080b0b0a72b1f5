"""JAX's persistent cache of compiled programs for the command line: its place and its size.

These are environment variables, set before JAX is imported, so that `landed --help` imports no JAX. Variables that the
user has set keep their values, and a process that has imported JAX keeps its settings. The library does not use this.
"""

import hashlib
import platform
import sys
import warnings
from collections.abc import Mapping, MutableMapping
from pathlib import Path

SIZE = 2**30
"""Largest size of the folder in bytes; beyond it JAX removes the least recently used entries."""


def use_cache(environment: MutableMapping[str, str]) -> None:
    """Set up the cache for this process, unless JAX is imported already or the user has set the cache's folder.

    A folder that cannot be read or written is ignored without a message, and the run compiles.

    >>> use_cache({})  # JAX is imported here, so nothing changes
    """
    place = cache_folder(environment)
    if "jax" in sys.modules or "JAX_COMPILATION_CACHE_DIR" in environment or place is None:
        return
    for name, value in cache_settings(place).items():
        environment.setdefault(name, value)
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache", UserWarning)


def cache_settings(place: Path) -> dict[str, str]:
    """The environment variables for a cache in `place` that includes programs of any compile time.

    With a size limit JAX locks the folder while it reads and writes, so several processes can share it.

    >>> cache_settings(Path("xla"))["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"]
    '0'
    """
    return {
        "JAX_COMPILATION_CACHE_DIR": str(place),
        "JAX_COMPILATION_CACHE_MAX_SIZE": str(SIZE),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        # On some processors XLA prints errors about its compiler's preferences for every program read from the cache.
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


def cache_folder(environment: Mapping[str, str], system: str = sys.platform) -> Path | None:
    """The folder for this machine's programs: in ``LANDED_CACHE_DIR``, or in the user's own cache folder.

    Each kind of processor has its own folder, because several machines may share a home, and machine code differs.

    Returns:
        None where there is neither such a folder nor a home.

    >>> cache_folder({"LANDED_CACHE_DIR": "/scratch/landed"}).parent
    PosixPath('/scratch/landed/xla')
    """
    try:
        if chosen := environment.get("LANDED_CACHE_DIR"):
            parent = Path(chosen).expanduser().absolute()
        elif system == "darwin":
            parent = Path.home() / "Library" / "Caches" / "landed_jax"
        else:
            given = Path(environment.get("XDG_CACHE_HOME", ""))  # by XDG a relative path is ignored
            parent = (given if given.is_absolute() else Path.home() / ".cache") / "landed_jax"
    except RuntimeError:
        return None
    return parent / "xla" / processor_name()


def processor_name(description: Path = Path("/proc/cpuinfo")) -> str:
    """A short name for the kind of processor, the same whenever its instructions are.

    >>> processor_name() == processor_name()
    True
    """
    known = [platform.machine(), platform.processor()]
    try:
        with description.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith(("model name", "flags", "Features", "CPU part")):
                    known.append(line.strip())
                elif not line.strip():
                    break  # the first processor's entry is enough
    except OSError:
        pass
    return hashlib.sha256("\n".join(known).encode()).hexdigest()[:12]
