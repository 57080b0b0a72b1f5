"""What a cache of keys and values saves: tokens generated with it, and by the whole pass again for each token.

    python -m benchmarks.generation                  # the bundled model
    python -m benchmarks.generation --model FOLDER   # another

*Cache*: `Model.generate`. *Again*: `Model.trace` of all tokens so far, the last column's logits alone, computed with
padding so that a few programs serve all lengths. *Torch*: `transformers`, with its own cache. Each way generates the
same number of likeliest tokens; rounds alternate, so that other load on the machine affects all alike; medians. The
processors' time is counted besides, for a machine that others use too. The tokens of all ways are compared.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.environment import prepare

PROMPT = "The Colosseum is in the city of"


def main() -> int:
    prepare()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generation", description=__doc__)
    parser.add_argument("--model", help="a folder; by default the bundled model")
    parser.add_argument("--tokens", type=int, default=64, help="how many are generated")
    parser.add_argument("--prompts", type=int, nargs="+", default=[0], help="lengths; 0: a sentence")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--without-torch", action="store_true")
    options = parser.parse_args()
    print("| model | prompt | tokens | way | s | CPU s | cache, times faster | in CPU time | same tokens |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for length in options.prompts:
        _measure(options.model, length, options.tokens, options.rounds, not options.without_torch)
    return 0


def _measure(folder: str | None, length: int, count: int, rounds: int, with_torch: bool) -> None:
    import warnings

    import numpy as np

    import landed_jax as landed

    model = landed.load(folder) if folder else landed.load()
    prompt = np.asarray(model.encode(PROMPT).ids)[0].tolist()
    if length:
        prompt = np.random.default_rng(0).integers(5, model.config.vocab_size, length).tolist()

    def cache() -> list[int]:
        return list(model.generate(prompt, count, stop=()).ids[0])

    def again() -> list[int]:
        ids = list(prompt)
        for _ in range(count):
            ids.append(int(np.asarray(model.trace(ids, record=(), at=-1).logits).argmax()))
        return ids[len(prompt) :]

    ways: dict[str, Callable[[], list[int]]] = {"cache": cache, "again": again}
    if with_torch and (torch := _torch(folder, prompt, count)) is not None:
        ways["torch"] = torch
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    work: dict[str, list[float]] = {way: [] for way in ways}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", landed.PromptWarning)  # the bundled model was made for 64 tokens
        found = {way: run() for way, run in ways.items()}
        for turn in range(rounds):
            for way in list(ways)[:: 1 if turn % 2 else -1]:
                start, cpu = time.perf_counter(), time.process_time()
                ways[way]()
                seconds[way].append(time.perf_counter() - start)
                work[way].append(time.process_time() - cpu)
    for way, times in seconds.items():
        pairs = ((times, seconds["cache"]), (work[way], work["cache"]))
        ratios = [statistics.median(one / own for one, own in zip(*pair, strict=True)) for pair in pairs]
        took = (f"{statistics.median(part):.2f}" for part in (times, work[way]))
        row = model.source or "bundled", len(prompt), count, way, *took, *(f"{ratio:.1f}" for ratio in ratios)
        print(f"| {' | '.join(map(str, row))} | {found[way] == found['cache']} |", flush=True)


def _torch(folder: str | None, prompt: list[int], count: int) -> Callable[[], list[int]] | None:
    """The same by `transformers`; None where torch is not installed."""
    try:
        import torch
        from transformers import AutoModelForCausalLM
    except ImportError:
        return None
    from landed_jax.checkpoints.bundle import bundled_folder

    model: Any = AutoModelForCausalLM.from_pretrained(folder or bundled_folder(), dtype=torch.float32).eval()
    ids = torch.tensor([prompt])
    how = {"max_new_tokens": count, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}

    def run() -> list[int]:
        with torch.inference_mode():
            return model.generate(ids, attention_mask=torch.ones_like(ids), **how)[0, len(prompt) :].tolist()

    return run


if __name__ == "__main__":
    sys.exit(main())
