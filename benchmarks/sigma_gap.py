"""How far landed contributions (σ frozen) are from direct effects (σ live), by the size of what is attributed.

    python -m benchmarks.sigma_gap                                # the bundled model, held-out prompts of its language
    python -m benchmarks.sigma_gap --model FOLDER --prompts FILE  # another model; a text in each line

At every position but a prompt's first: the likeliest token's logit, and its difference to the second likeliest, also by
quarters of the positions, from the smallest differences to the largest. NMAE is Σ|landed − effect| / Σ|effect|, both
sums over the components of all layers and over all positions of the row. The gap of each write is exactly
(landed − value)(σ/σ′ − 1), so it grows with the value.
"""

import argparse
import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

QUARTERS = ("smallest quarter", "second", "third", "largest quarter")


class Sums(NamedTuple):
    """At each position the value, and Σ|landed − effect| and Σ|effect| over heads and over neurons."""

    value: np.ndarray
    head_error: np.ndarray
    head_size: np.ndarray
    neuron_error: np.ndarray
    neuron_size: np.ndarray


def rows(logit: Sums, difference: Sums) -> Iterator[tuple[str, int, float, float, float]]:
    """Name, positions, median |value|, and NMAE over heads and over neurons, of each row of the table."""
    order = np.argsort(np.abs(difference.value), kind="stable")
    quarters = zip(QUARTERS, np.array_split(order, len(QUARTERS)), strict=True)
    whole = [("logit", logit, order), ("difference", difference, order)]
    for name, sums, at in [*whole, *((name, difference, quarter) for name, quarter in quarters)]:
        value, head_error, head_size, neuron_error, neuron_size = (part[at] for part in sums)
        heads, neurons = head_error.sum() / head_size.sum(), neuron_error.sum() / neuron_size.sum()
        yield name, len(at), float(np.median(np.abs(value))), float(heads), float(neurons)


def measure(model_name: str, texts: Sequence[str] | None, count: int, batch: int) -> tuple[Sums, Sums]:
    """The sums of the likeliest token's logit and of its difference to the second, at every position but the first.

    Args:
        texts: prompts; by default `count` held-out prompts of each condition of the bundled model's language.
        batch: prompts at a time.
    """
    import jax

    import landed_jax as landed

    model = landed.load(model_name)
    tokens = model.encode(_held_out(count) if texts is None else texts)

    @jax.jit
    def both(trace: landed.Trace) -> tuple[Sums, Sums]:
        assert trace.logits is not None
        first, second = (jax.lax.top_k(trace.logits, 2)[1][..., i] for i in (0, 1))
        return one(trace, landed.Logit(first)), one(trace, landed.Logit(first, against=second))

    def one(trace: landed.Trace, question: landed.Logit) -> Sums:
        found = landed.attribution.frozen_sigma_agreement(trace, question)
        parts = (found.heads.error, found.heads.size, found.neurons.error, found.neurons.size)
        return Sums(landed.resolve(trace, question).value, *parts)  # pyright: ignore[reportArgumentType]

    found: list[tuple[Sums, Sums]] = []
    for start in range(0, len(tokens.ids), batch):
        # The last batch reaches back, so that all are of one shape.
        start = max(min(start, len(tokens.ids) - batch), 0)
        part = jax.tree.map(lambda leaf, start=start: leaf[start : start + batch], tokens)
        later = np.asarray(part.mask) & (np.asarray(part.positions) > 0)
        later[: len(found) * batch - start] = False
        sums = jax.device_get(both(model.trace(part)))
        found.append(jax.tree.map(lambda leaf, later=later: leaf[later], sums))
    logit, difference = jax.tree.map(lambda *leaves: np.concatenate(leaves), *found)
    return logit, difference


def _held_out(count: int) -> list[str]:
    from landed_jax.testbed import language

    drawn = [language.pairs(*condition, count) for condition in language.conditions()]
    return list(dict.fromkeys(pair.clean.prompt for pair in itertools.chain(*drawn)))


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sigma_gap", description="How far σ frozen is from σ live."
    )
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--prompts", type=Path, help="a file with a text in each line")
    parser.add_argument("--count", type=int, default=20, help="without --prompts: held-out prompts of each condition")
    parser.add_argument("--batch", type=int, default=32, help="prompts at a time")
    options = parser.parse_args()
    texts = None
    if options.prompts:
        texts = [line for line in options.prompts.read_text("utf-8").splitlines() if line.strip()]
    print(f"{'value':<18} {'positions':>9} {'median |value|':>15} {'NMAE, heads':>12} {'neurons':>8}")
    for name, positions, size, heads, neurons in rows(*measure(options.model, texts, options.count, options.batch)):
        print(f"{name:<18} {positions:>9} {size:>15.3f} {heads:>12.1%} {neurons:>8.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
