"""Environment variables to set before JAX and torch are imported, and facts about the machine."""

import ctypes
import datetime
import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import ClassVar

PACKAGES = ("jax", "jaxlib", "flax", "torch", "transformers", "transformer-lens", "numpy")


def prepare() -> None:
    """Set the environment; call it before JAX and torch are imported.

    By default the threads of torch's OpenMP spin between calls, which would slow down the next contestant.
    """
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    # On a GPU JAX would preallocate most of the memory and leave none to torch.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_bytes() -> int:
    """Memory available without swapping, with the free memory that this process keeps; 0 where it is unknown."""
    return _meminfo("MemAvailable") + _free_here()


class _Mallinfo2(ctypes.Structure):
    """The heap in bytes, as in glibc's malloc.h; fordblks is the free part."""

    _fields_: ClassVar = [
        ("other", ctypes.c_size_t * 8),
        ("fordblks", ctypes.c_size_t),
        ("keepcost", ctypes.c_size_t),
    ]


def _free_here() -> int:
    """Freed memory that the C library has not returned to the system, where it is known (glibc)."""
    try:
        mallinfo2 = ctypes.CDLL(None).mallinfo2
    except (AttributeError, OSError, TypeError):
        return 0
    mallinfo2.restype = _Mallinfo2
    return mallinfo2().fordblks


def machine() -> dict[str, str]:
    """The processor, its memory, the devices, the versions and the date."""
    import jax

    facts = {
        "processor": _processor(),
        "cores": str(cores()),
        "memory": f"{_meminfo('MemTotal') / 2**30:.1f} GiB",
        "device": f"{jax.default_backend()} ({jax.devices()[0].device_kind})",
        "torch device": _torch_device(),
        "commit": _commit(),
        "python": platform.python_version(),
    }
    for package in PACKAGES:
        facts[package] = _version(package)
    return {**facts, "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")}


def _torch_device() -> str:
    try:
        from benchmarks.weights import torch_device

        return torch_device()
    except ImportError:
        return "none"


def _commit() -> str:
    """The commit, and whether Python files in the work tree differ from it; "unknown" outside of a repository."""

    def git(*words: str) -> str:
        asked = ["git", "-C", str(Path(__file__).parents[1]), *words]
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short", "HEAD") + (" and changes" if git("status", "--short", "--", "*.py") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    found = re.search(r"model name\s*: (.*)", _text("/proc/cpuinfo"))
    return found[1] if found else platform.processor() or platform.machine()


def _meminfo(field: str) -> int:
    found = re.search(rf"{field}:\s*(\d+) kB", _text("/proc/meminfo"))
    return int(found[1]) * 1024 if found else 0


def _text(file: str) -> str:
    path = Path(file)
    return path.read_text(encoding="utf-8") if path.exists() else ""
