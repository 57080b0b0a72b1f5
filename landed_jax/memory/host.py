"""The memory that this process may use, on the machine and on its devices."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from landed_jax.errors import LandedError

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def host_memory() -> int:
    """Bytes of the machine's memory, or the lower limit of a container or a batch system."""
    import psutil  # few calls need it

    return min([psutil.virtual_memory().total, *cgroup_limits(), *process_limits()])


def free_host_memory() -> int:
    """Bytes that the system can give now, and never more than `host_memory`."""
    import psutil

    return min(psutil.virtual_memory().available, host_memory())


def process_limits() -> list[int]:
    """Limits in bytes on this process's address space and data, set by a shell or a batch system."""
    try:
        import resource
    except ImportError:  # not on Windows
        return []
    limits = (resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA))
    return [limit for limit in limits if limit != resource.RLIM_INFINITY]


def device_memory(device: Any = None) -> int:
    """Bytes of memory of a device, by default the first: an accelerator's own, or `host_memory`."""
    stats = (jax.local_devices()[0] if device is None else device).memory_stats() or {}
    return int(stats.get("bytes_limit") or host_memory())


def default_device() -> Any:
    """The device on which JAX puts new arrays."""
    return next(iter(jnp.zeros(()).devices()))


def default_platform() -> str:
    """The platform on which JAX puts new arrays: cpu, gpu or tpu.

    Raises:
        LandedError: if it cannot be used.
    """
    with backend_errors():
        return jax.default_backend()


def cpu_device() -> Any:
    """This process's first CPU device.

    Raises:
        LandedError: if JAX was told not to use the CPU.
    """
    with backend_errors():
        return jax.local_devices(backend="cpu")[0]


@contextlib.contextmanager
def backend_errors() -> Iterator[None]:
    """Turn JAX's error for a platform that is not there into a LandedError."""
    try:
        yield
    except (RuntimeError, AssertionError) as error:  # JAX asserts that one of the platforms could be started
        reason = (str(error).splitlines() or ["no such device"])[0].split(" (")[0].rstrip(".")
        if not (asked := os.environ.get("JAX_PLATFORMS")):
            raise LandedError(f"JAX finds no device that it can use: {reason}.") from error
        raise LandedError(
            f"JAX_PLATFORMS is {asked!r}, which JAX cannot use here: unset it, or set it to cpu. ({reason}.)"
        ) from error


def cgroup_limits(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> list[int]:
    """Limits in bytes of this process's control groups and of their parents; empty on other systems than Linux.

    Control groups are read where systemd and containers mount them: ``/sys/fs/cgroup``, for version 1 its ``memory``.

    References:
        Linux kernel documentation: cgroup-v2 (memory.max), cgroup-v1/memory (memory.limit_in_bytes).
    """
    try:
        lines = os.fsdecode(membership.read_bytes()).split("\n")
    except OSError:
        return []
    found = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, colon, group = rest.partition(":")
        if not colon:
            continue
        if controllers == "":
            root, name = cgroups, "memory.max"
        elif "memory" in controllers.split(","):
            root, name = cgroups / "memory", "memory.limit_in_bytes"
        else:
            continue
        # In a container the path may be the host's. Then only the root's own file exists.
        parts = [part for part in group.split("/") if part]
        if ".." in parts:
            parts = []
        for depth in range(len(parts) + 1):
            try:
                text = root.joinpath(*parts[:depth], name).read_text(encoding="ascii").strip()
            except OSError:
                continue
            if text.isdecimal():  # or "max"
                found.append(int(text))
    return found
