"""Where the command line keeps compiled programs between runs: JAX's persistent cache, with a place and a size.

Only settings of the environment, made before JAX is imported, so that `landed --help` waits for nothing. What the user
has set stays. A process that has JAX already has its own settings, and keeps them: the library never gets here.
"""

import hashlib
import platform
import sys
import warnings
from collections.abc import Mapping, MutableMapping
from pathlib import Path

SIZE = 2**30
"""Bytes that the folder may grow to; beyond, JAX drops what was not used for longest."""


def use_cache(environment: MutableMapping[str, str]) -> None:
    """Let this process keep compiled programs, where JAX is not imported yet and the user has not placed its cache.

    A folder that cannot be written or read is passed over in silence: the run then compiles.

    >>> use_cache({})  # JAX is imported here, so nothing changes
    """
    place = cache_folder(environment)
    if "jax" in sys.modules or "JAX_COMPILATION_CACHE_DIR" in environment or place is None:
        return
    for name, value in cache_settings(place).items():
        environment.setdefault(name, value)
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache", UserWarning)


def cache_settings(place: Path) -> dict[str, str]:
    """The environment of a process that keeps its programs in `place`, small ones too.

    The size makes JAX lock the folder while it reads and writes, so two processes can share it.

    >>> cache_settings(Path("xla"))["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"]
    '0'
    """
    return {
        "JAX_COMPILATION_CACHE_DIR": str(place),
        "JAX_COMPILATION_CACHE_MAX_SIZE": str(SIZE),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        # On some processors XLA prints errors about preferences of its own compiler for every program it reads back.
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


def cache_folder(environment: Mapping[str, str], system: str = sys.platform) -> Path | None:
    """The folder for this machine's programs: in ``LANDED_CACHE_DIR``, or in the user's own cache folder.

    Each kind of processor has its own: a home that several machines share must not give one the other's machine code.

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
            given = Path(environment.get("XDG_CACHE_HOME", ""))  # one that is not absolute does not count, by XDG
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
                    break  # the first processor's part is enough
    except OSError:
        pass
    return hashlib.sha256("\n".join(known).encode()).hexdigest()[:12]
