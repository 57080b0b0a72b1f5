"""The command line: which pass, over what, into which files."""

import argparse
import dataclasses
import json
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Never

from benchmarks import memory, scaling, timing
from benchmarks.contestants import CONTESTANTS
from benchmarks.environment import cores, machine
from benchmarks.page import render
from benchmarks.results import Measured, Run, Section, as_json, read, write_whole
from benchmarks.shapes import SIZES, shape
from landed_jax.memory import keep_freed_memory

RECORDED = Path(__file__).resolve().with_name("RESULTS.md")


def run(arguments: Sequence[str]) -> int:
    """Measure what the arguments ask for; 0, or 2 for arguments that cannot be."""
    parser = _parser()
    options = parser.parse_args(arguments)
    _use_all_cores()
    stacked = {"stacked": True, "subtrees": False}.get(options.layout)
    if options.peak:
        row = memory.peak_row(options.only[0], options.sizes[0], options.lengths[0], stacked=stacked)
        print(json.dumps(dataclasses.asdict(row)))
        return 0
    # As a process that attributes many prompts would do; the setting speeds up every contestant.
    kept = not (options.hand_back or options.memory) and keep_freed_memory()
    out, store = _targets(options.out, options.json, options.record, parser.error)
    sections = read(store)
    command = shlex.join(["python", "-m", "benchmarks", *arguments])
    for name in [name for name in ("memory", "scaling") if getattr(options, name)] or ["timing"]:
        section = sections[name] = sections[name] if options.add and name in sections else Section([])
        section.begin(Run(command, {**machine(), "freed memory": "kept" if kept else "handed back"}))
        for rows in _rows(name, options, stacked):
            section.take(rows, [*SIZES])
            _say(rows)
            # After every size and length, so that a killed run leaves complete files.
            write_whole([(store, as_json(sections)), (out, render(sections))])
        if name == "scaling":
            _draw(section, out.parent / "scaling.svg")
    print(f"Written: {out}, {store}", file=sys.stderr)
    return 0


def _targets(out: Path | None, store: Path | None, record: bool, refuse: Callable[[str], Never]) -> tuple[Path, Path]:
    """The page and its numbers: those of the repository only for a run that is to be recorded."""
    page = out or (RECORDED if record else Path("benchmark_results.md"))
    numbers = store or page.with_suffix(".json")
    if not record and RECORDED.parent in (page.resolve().parent, numbers.resolve().parent):
        refuse(f"{RECORDED.parent} holds the repository's own page: name another folder, or --record")
    for file in (page, numbers):  # before the long work
        if not file.parent.is_dir() or file.is_dir():
            refuse(f"{file} cannot be written: it is a folder, or stands in none")
    return page, numbers


def _rows(name: str, options: argparse.Namespace, stacked: bool | None) -> Iterable[list[Measured]]:
    if name == "memory":
        return memory.measure(options.sizes, options.lengths, options.only, stacked=stacked)
    if name == "scaling":
        return scaling.measure(options.scaling_size, options.repeats, stacked=stacked)
    repeats, seconds = options.repeats, options.seconds
    return timing.measure(options.sizes, options.lengths, options.only, repeats, seconds, stacked=stacked)


def _draw(section: Section, path: Path) -> None:
    try:
        scaling.draw(section, path)
    except ImportError:
        print("No figure: matplotlib is not installed (pip install '.[bench]').", file=sys.stderr)


def _use_all_cores() -> None:
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(cores())


def _say(rows: Iterable[Measured]) -> None:
    for row in rows:
        figure = f"{1000 * row.median:,.4g} ms" if row.median is not None else ""
        if row.peak_bytes is not None:
            figure = f"{row.peak_bytes / 2**20:,.0f} MiB"
        print(f"{row.size:>8} {row.length:>5}  {row.contestant:<20} {figure} {row.note}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--sizes", type=_listed(_size), default=[*SIZES], help=f"of {', '.join(SIZES)}; 125M/4: 4 layers"
    )
    parser.add_argument("--lengths", type=_listed(_count), default=[32, 128, 512, 2048], help="tokens")
    parser.add_argument("--repeats", type=_count, default=7, help="rounds")
    parser.add_argument("--seconds", type=_count, default=int(timing.SECONDS), help="at most so many a contestant")
    parser.add_argument("--only", type=_listed(_contestant), default=[*CONTESTANTS], help=", ".join(CONTESTANTS))
    parser.add_argument("--layout", choices=["stacked", "subtrees"], help="our layers; by default as load() does here")
    parser.add_argument("--hand-back", action="store_true", help="hand freed memory back, as the C library would")
    parser.add_argument("--memory", action="store_true", help="peak memory, in place of time")
    parser.add_argument("--scaling", action="store_true", help="cost by length and depth, in place of time; a figure")
    parser.add_argument("--scaling-size", type=_size, default="125M", help="the shape that --scaling starts from")
    parser.add_argument(
        "--add", action="store_true", help="keep the page's rows of other sizes and lengths, from other runs"
    )
    parser.add_argument("--out", type=Path, help="the page; by default benchmark_results.md; other passes' parts stay")
    parser.add_argument("--record", action="store_true", help=f"write the repository's own page, {RECORDED.name}")
    parser.add_argument("--json", type=Path, help="the numbers; by default beside the page")
    parser.add_argument("--peak", action="store_true", help=argparse.SUPPRESS)  # one process of --memory
    return parser


def _listed(kind: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    return lambda text: [kind(part) for part in text.split(",")]


def _size(text: str) -> str:
    try:
        shape(text)
    except (KeyError, ValueError):
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(SIZES)}") from None
    return text


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


def _contestant(text: str) -> str:
    if text not in CONTESTANTS:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(CONTESTANTS)}")
    return text
