"""The bundled model's induction heads, found by their score, and what is left of each task without them.

    python -m benchmarks.induction_heads

Induction heads are the heads with an induction score of at least one half on random sequences of the induction
task's words. They are ablated together, by zero and by the mean over all tasks' prompts (by position class), beside as
many random heads, drawn again and again from all others. Prompts are held out of training, and such as the model
answers; *kept*: the share that it still answers; *lead*: the mean logit difference of right and wrong answer.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmarks.environment import prepare

ENOUGH = 0.5


class Left(NamedTuple):
    """What is left of a task under each of several ablations: the share answered, and the mean lead."""

    kept: np.ndarray
    lead: np.ndarray


def induction_heads(model: Any, sequences: int, seed: int) -> tuple[list[tuple[int, int]], Any]:
    """The heads with a score of at least `ENOUGH`, and the scores."""
    from landed_jax.roles import head_scores
    from landed_jax.testbed.language import TASKS

    words = sorted(TASKS["induction"].words - {"."})
    pool = [model.vocabulary.token_id(f" {word}") for word in words]
    scores = head_scores(model, sequences=sequences, length=8, pool=pool, seed=seed)
    found = np.argwhere(scores.mean("induction") >= ENOUGH)
    return [(int(layer), int(head)) for layer, head in found], scores


def drawn(model: Any, without: Sequence[tuple[int, int]], draws: int, seed: int) -> list[list[tuple[int, int]]]:
    """As many heads as `without` has, drawn at random from the others, `draws` times."""
    config, random = model.config, np.random.default_rng(seed)
    others = [(layer, head) for layer in range(config.n_layers) for head in range(config.n_heads)]
    others = [place for place in others if place not in without]
    return [[others[i] for i in random.choice(len(others), len(without), replace=False)] for _ in range(draws)]


def left(model: Any, batches: Sequence[Any], data: Sequence[Any], sets: Sequence[Sequence[tuple[int, int]]]) -> dict:
    """What is left of a task without each set of heads, by the way of ablation; the first number is without any."""
    from landed_jax.interventions import intervene, mean_of, sweep

    found: dict[str, list[np.ndarray]] = {"zero": [], "mean": []}
    for pairs in batches:
        mean = mean_of(data, "head", model.trace(pairs.clean, record=()))
        values = {"zero": ("zero", None, {}), "mean": ("replace", mean.value, {"positions": mean.where["position"]})}
        question = pairs.question(model.params, model.config)
        for name, (do, value, where) in values.items():
            runs = [
                [intervene("head", do, value, layers=layer, heads=head, **where) for layer, head in heads]
                for heads in sets
            ]
            run = sweep(model, pairs.clean, runs, question)
            found[name].append(np.concatenate([run.clean[None], run.value])[..., 0])
    leads = {name: np.concatenate(parts, axis=-1) for name, parts in found.items()}
    return {name: Left(np.mean(lead > 0, axis=-1), np.mean(lead, axis=-1)) for name, lead in leads.items()}


def main() -> int:
    prepare()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.induction_heads", description=__doc__)
    parser.add_argument("--prompts", type=int, default=64, help="of each task")
    parser.add_argument("--draws", type=int, default=50, help="of random heads")
    parser.add_argument("--sequences", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    import landed_jax as landed
    from landed_jax.tasks import answered, pairs_of
    from landed_jax.testbed.prompts import tasks

    model = landed.load()
    found, scores = induction_heads(model, options.sequences, options.seed)
    print(scores.top(len(found) + 4))
    if not found:
        print("No head has such a score.")
        return 1
    sets = [found, *drawn(model, found, options.draws, options.seed)]
    batches = {
        name: pairs_of(answered(model, task, options.prompts, seed=options.seed)) for name, task in tasks().items()
    }
    data = [
        model.trace(pairs.clean, record={landed.HookPoint.HEAD}) for parts in batches.values() for pairs in parts[:1]
    ]
    names = ", ".join(f"{layer}.{head}" for layer, head in found)
    print(f"\nWithout {names}, beside {options.draws} draws of {len(found)} other heads:\n")
    print("| task | prompts | ablation | kept | random: mean, least | lead before | without | random: mean, least |")
    print("|---|---|---|---|---|---|---|---|")
    for name, parts in batches.items():
        for way, numbers in left(model, parts, data, sets).items():
            kept, lead = numbers.kept, numbers.lead
            print(
                f"| {name} | {sum(map(len, parts))} | {way} | {kept[1]:.0%} | {kept[2:].mean():.0%}, "
                f"{kept[2:].min():.0%} | {lead[0]:.2f} | {lead[1]:.2f} | {lead[2:].mean():.2f}, {lead[2:].min():.2f} |"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
