"""What a study costs beside the bare traces of its batches, and beside torch hooks over single prompts.

    python -m benchmarks.study                                  # 10,000 short prompts on the bundled model
    python -m benchmarks.study --model FOLDER --count 1000 --keep scale,attribution,effects --no-hooks
    python -m benchmarks.study --memory 1000 10000              # peak memory of processes with so many prompts

*Study*: `landed.study` into a store, from text to the last statistic. *Trace*: `model.trace` of the same batches, which
are made before. *Hooks*: `transformers` with a hook on every ``o_proj`` and ``down_proj``, one prompt after another,
each head's and neuron's landed contribution at the last token; a part of the prompts is timed, and multiplied. All
programs are compiled before. Rounds alternate, so that other load on the machine affects all alike; medians.
"""

import argparse
import itertools
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.environment import machine, prepare


def main() -> int:
    prepare()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study", description=__doc__)
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--keep", default="scale,attribution")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--of", type=int, default=200, help="how many prompts the hooks are timed on")
    parser.add_argument("--no-hooks", action="store_true", help="leave out torch")
    parser.add_argument("--memory", type=int, nargs="+", metavar="COUNT", help="peak memory, in place of time")
    parser.add_argument("--peak", action="store_true", help=argparse.SUPPRESS)  # one process of --memory
    options = parser.parse_args()
    if options.peak:
        print(_peak(options.model, options.count, options.keep))
    elif options.memory:
        _memory(options)
    else:
        _time(options)
    return 0


def texts(count: int) -> list[str]:
    """Prompts of all tasks of the bundled model's language in turn, again and again."""
    from landed_jax.testbed.prompts import tasks

    known = tasks()
    drawn = [[prompt.clean for prompt in known[name].prompts(min(400, count))] for name in sorted(known)]
    mixed = [text for row in itertools.zip_longest(*drawn) for text in row if text is not None]
    return list(itertools.islice(itertools.cycle(mixed), count))


def _time(options: argparse.Namespace) -> None:
    import jax

    import landed_jax as landed
    from landed_jax.studies._batches import Reader
    from landed_jax.studies._sources import source_of

    model, keep, prompts = landed.load(options.model), options.keep.split(","), texts(options.count)
    reader = Reader(model, source_of(prompts))
    parts = [part for batch in reader.batches() for part in reader.parts(batch)]
    batches = [landed.Tokens(*jax.device_put((part.ids, part.mask))) for part in parts]
    shapes = {batch.ids.shape: batch for batch in batches}

    def study() -> None:
        with tempfile.TemporaryDirectory() as folder:
            landed.study(model, prompts, keep, Path(folder, "study"))

    def trace() -> None:
        for batch in batches:
            jax.block_until_ready(model.trace(batch).logits)

    ways: dict[str, tuple[Callable[[], None], int]] = {"study": (study, options.count), "trace": (trace, options.count)}
    if not options.no_hooks:
        ways["hooks"] = (_hooks(model, reader, prompts, options.of), min(options.of, options.count))
    for batch in shapes.values():
        jax.block_until_ready(model.trace(batch).logits)
    for run, _ in ways.values():  # compiles
        run()
    rates: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(options.rounds):
        for way in list(ways)[:: 1 if turn % 2 else -1]:
            run, timed = ways[way]
            start = time.perf_counter()
            run()
            rates[way].append(timed / (time.perf_counter() - start))
    print(json.dumps(machine()))
    said = f"{len(batches)} batches of {len(shapes)} shapes, keep {options.keep}"
    print(f"{options.model}: {options.count:,} prompts, {said}")
    print("| way | prompts a second | study / way |\n|---|---|---|")
    for way, found in rates.items():
        ratio = statistics.median(mine / other for mine, other in zip(rates["study"], found, strict=True))
        print(f"| {way} | {statistics.median(found):,.0f} ({min(found):,.0f}–{max(found):,.0f}) | {ratio:.2f} |")


def _hooks(model: Any, reader: Any, prompts: list[str], of: int) -> Callable[[], None]:
    import torch
    from transformers import AutoModelForCausalLM

    from benchmarks.torch_hooks import attribute_with_hooks

    theirs = AutoModelForCausalLM.from_pretrained(model.folder, dtype=torch.float32).eval()
    some = prompts[:: max(len(prompts) // of, 1)][:of]

    def run() -> None:
        for text in some:
            ids = torch.tensor([model.vocabulary.encode_all([text])[0]])
            attribute_with_hooks(theirs, ids, last=True)

    return run


def _memory(options: argparse.Namespace) -> None:
    print("| prompts | peak memory |\n|---|---|")
    for count in options.memory:
        command = [sys.executable, "-m", "benchmarks.study", "--peak", "--model", options.model]
        command += ["--count", str(count), "--keep", options.keep]
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        print(f"| {count:,} | {int(found.split()[-1]) / 2**10:,.0f} MiB |", flush=True)


def _peak(name: str, count: int, keep: str) -> int:
    """Kibibytes of this process at its most, after a study of a file."""
    import landed_jax as landed

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "prompts.txt")
        file.write_text("\n".join(texts(count)), encoding="utf-8")
        landed.study(landed.load(name), file, keep.split(","), Path(folder, "study"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    sys.exit(main())
