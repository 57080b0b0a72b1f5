"""What `landed run --stream` takes on a checkpoint that the memory need not hold: time, memory, closure error.

    python -m benchmarks.random_checkpoint FOLDER                # Llama-3.1-8B's shape, 16 GB
    python -m benchmarks.out_of_core FOLDER --prompts 1,8        # with the weights' files out of the page cache first
    python -m benchmarks.out_of_core FOLDER --keep-cache --in-memory

Each row is a process of its own, watched through ``/proc``: *own memory* is the peak of its anonymous pages, *file
pages* that of the pages of files that it maps; pages that the system keeps of files as it reads are in neither. *Read*
is what the process took from the disk. The disk's own rate is that of reading the same files from their beginning to
their end, with nothing else done.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.environment import machine, prepare
from benchmarks.markdown import markdown

TEXTS = (
    "The Colosseum is in the city of",
    "The capital of France is",
    "Two plus two is",
    "Water boils at a temperature of",
    "The author of Hamlet is",
    "The opposite of hot is",
    "The sun rises in the",
    "A triangle has three",
)
_BLOCK = 16 << 20


class Run(NamedTuple):
    """One process: GB are 10⁹ bytes."""

    seconds: float
    cpu_seconds: float
    own_gb: float
    file_gb: float
    read_gb: float
    closure: float


def main() -> int:
    prepare()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.out_of_core", description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--prompts", default="1,8", help="how many prompts, separated by commas")
    parser.add_argument("--keep-cache", action="store_true", help="leave what the system keeps of the files")
    parser.add_argument("--in-memory", action="store_true", help="also without --stream")
    options = parser.parse_args()
    files = sorted(options.model.glob("*.safetensors"))
    size = sum(file.stat().st_size for file in files) / 1e9
    rows = []
    for count in map(int, options.prompts.split(",")):
        for how in [["--stream"], []] if options.in_memory else [["--stream"]]:
            rate = 0.0
            if not options.keep_cache:
                _evict(files)
                rate = _rate(files)
                _evict(files)
            run = watched(options.model, count, how)
            rows.append([str(count), " ".join(how) or "in memory", *(f"{n:.1f}" for n in run[:5])])
            rows[-1] += [f"{run.closure:.1e}", f"{size / rate:.0f}" if rate else "cached"]
            print(rows[-1], file=sys.stderr)
    facts = "; ".join(f"{name} {value}" for name, value in machine().items())
    print(f"`python -m benchmarks.out_of_core {' '.join(sys.argv[1:])}` ({facts})\n")
    heads = ["prompts", "how", "s", "CPU-s", "own memory, GB", "file pages, GB", "read, GB", "closure error"]
    print(markdown([*heads, f"s to read {size:.1f} GB once"], rows, left=2))
    return 0


def watched(model: Path, count: int, how: list[str]) -> Run:
    """`landed run` of so many prompts, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        prompts, found = Path(folder, "prompts.txt"), Path(folder, "found.jsonl")
        prompts.write_text("".join(f"{TEXTS[i % len(TEXTS)]}\n" for i in range(count)), encoding="utf-8")
        asked = ["run", "--prompts", str(prompts), "--model", str(model), "--json", str(found), *how]
        code = "import sys; from landed_jax.cli import main; sys.exit(main())"
        begun, before = time.perf_counter(), os.times()
        process = subprocess.Popen([sys.executable, "-c", code, *asked], stdout=subprocess.DEVNULL)
        peaks, read = {"RssAnon": 0, "RssFile": 0}, 0
        while process.poll() is None:
            peaks = {name: max(peak, now) for (name, peak), now in zip(peaks.items(), _pages(process.pid), strict=True)}
            read = max(read, _bytes_read(process.pid))
            time.sleep(0.02)
        seconds = time.perf_counter() - begun
        if process.returncode:
            raise SystemExit(f"landed {' '.join(asked)} ended with {process.returncode}")
        used = os.times()
        accounts = [json.loads(line) for line in found.read_text(encoding="utf-8").splitlines()]
    cpu = used.children_user - before.children_user + used.children_system - before.children_system
    closure = max(account["closure_error"] for account in accounts)
    return Run(seconds, cpu, peaks["RssAnon"] / 1e9, peaks["RssFile"] / 1e9, read / 1e9, closure)


def _pages(process: int) -> list[int]:
    """Of its own, shared ones with no file too, and of files."""
    fields = _fields(f"/proc/{process}/status")
    own, shared, of_files = (
        int(fields.get(name, "0 kB").split()[0]) * 1024 for name in ("RssAnon", "RssShmem", "RssFile")
    )
    return [own + shared, of_files]


def _bytes_read(process: int) -> int:
    return int(_fields(f"/proc/{process}/io").get("read_bytes", "0"))


def _fields(path: str) -> dict[str, str]:
    try:
        lines = Path(path).read_text(encoding="ascii").splitlines()
    except OSError:  # it has ended
        return {}
    return {name: rest.strip() for name, _, rest in (line.partition(":") for line in lines)}


def _evict(files: list[Path]) -> None:
    """Have the system forget what it keeps of these files."""
    for file in files:
        opened = os.open(file, os.O_RDONLY)
        os.fsync(opened)
        os.posix_fadvise(opened, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(opened)


def _rate(files: list[Path]) -> float:
    """GB a second at which the files are read, one after another."""
    buffer, begun, count = bytearray(_BLOCK), time.perf_counter(), 0
    for file in files:
        with file.open("rb", buffering=0) as opened:
            while got := opened.readinto(buffer):
                count += got
    return count / 1e9 / (time.perf_counter() - begun)


if __name__ == "__main__":
    sys.exit(main())
