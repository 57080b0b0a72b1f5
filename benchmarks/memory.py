"""Peak memory above the weights, in a new process for each contestant, size and length."""

import contextlib
import ctypes
import gc
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax

from benchmarks.contestants import CONTESTANTS, Prepared, Unavailable
from benchmarks.results import Measured
from benchmarks.shapes import shape
from benchmarks.transformer_lens_side import OverBudget
from benchmarks.weights import Weights

WARM = 8  # tokens of a first call, which loads the libraries' code


def measure(
    sizes: Sequence[str], lengths: Sequence[int], names: Sequence[str], *, stacked: bool | None = None
) -> Iterator[list[Measured]]:
    """The rows of each size and length."""
    for size in sizes:
        for length in lengths:
            yield [_in_a_process(name, size, length, stacked) for name in names]


def _in_a_process(name: str, size: str, length: int, stacked: bool | None) -> Measured:
    layout = [] if stacked is None else ["--layout", "stacked" if stacked else "subtrees"]
    arguments = ["--sizes", size, "--lengths", str(length), "--only", name, *layout, "--peak"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        # One heap: what the allocator reserves per thread varies by chance, by up to 100 MiB.
        env={**os.environ, "MALLOC_ARENA_MAX": "1"},
        cwd=Path(__file__).parents[1],
        check=False,
    )
    if done.returncode:
        # A negative status is a signal; the kernel sends -9 when memory is exhausted.
        return Measured(name, size, length, note=f"ended with status {done.returncode}")
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def peak_row(name: str, size: str, length: int, *, stacked: bool | None = None) -> Measured:
    """The memory that one contestant adds to this process, which must be new."""
    row = Measured(name, size, length)
    weights = Weights(shape(size), stacked=stacked)
    try:
        prepared = CONTESTANTS[name].build(weights, length)
        CONTESTANTS[name].build(weights, WARM).run()
        row.peak_bytes = peak(prepared)
    except (Unavailable, OverBudget) as error:
        row.note = str(error)
    return row


def peak(prepared: Prepared) -> int | None:
    """Bytes that one run adds to what this process holds, at most."""
    if jax.default_backend() != "cpu":
        return _peak_on_gpu(prepared)
    gc.collect()
    # Memory that compilation has freed would otherwise hide allocations of the run.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets the high-water mark
    prepared.run()
    return _status("VmHWM") - before


def _peak_on_gpu(prepared: Prepared) -> int | None:
    # XLA's allocator has no resettable high-water mark. The compiler's own account is used instead.
    if prepared.program_bytes is not None:
        return prepared.program_bytes
    import torch

    if not torch.cuda.is_available():
        raise Unavailable("torch has no accelerator here, and JAX has: another memory")
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    prepared.run()
    return torch.cuda.max_memory_allocated() - before


def _status(field: str) -> int:
    found = re.search(rf"{field}:\s*(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    if found is None:
        raise OSError(f"/proc/self/status has no {field}: the peak is measured on Linux only")
    return int(found[1]) * 1024
