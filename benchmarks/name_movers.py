"""Name movers of a model on the indirect object task, and what later components give back when they are ablated.

    python -m benchmarks.name_movers MODEL

Heads are found by their direct effect on the logit difference of both names. Three sets of those that matter are then
ablated, one by one and together, at all positions: *name movers* (a direct effect whose interval is above 0, more
attention from the end to the right name than to the wrong one, and at least half of the right names copied), *negative
heads* (an interval below 0) and *others* with an interval above 0; of each at most --heads. The ablation puts 0 in the
place of a head's factor, or its mean over the prompts by position class, or its value in the corrupted prompt.

*Direct* is what the lead loses by the head's last write being exchanged, σ recomputed; *total* that in a run with the
head ablated. *Given back*: how much more later attentions, and later MLPs, say of the lead in that run than in the
clean one, σ of the last norm as in the clean run. Means over prompts, with 95 % bootstrap intervals.
"""

import argparse
import functools
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.environment import prepare

Head = tuple[int, int]


def main() -> int:
    prepare()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.name_movers", description=__doc__)
    parser.add_argument("model", help="a folder or a Hugging Face id")
    parser.add_argument("--prompts", type=int, default=64, help="at least so many that hold both names")
    parser.add_argument("--heads", type=int, default=4, help="of each kind, at most")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    import landed_jax as landed
    from landed_jax.roles import name_movers, naming
    from landed_jax.tasks import answered, pairs_of, tasks

    model = landed.load(options.model)
    # Every sixth wording begins with a name, which is then another token.
    kept = naming(answered(model, tasks()["indirect object"], 3 * options.prompts // 2, seed=options.seed))
    batches = pairs_of(kept.first(options.prompts))
    found = name_movers(model, batches, norms=landed.writes.weight_norms(model.params, model.config))
    print(f"{sum(map(len, batches))} prompts, mean lead {_shown(np.asarray(found.difference))}\n")
    print(found.movers(8), found.negative(6), sep="\n\n", end="\n\n")
    data = [model.trace(pairs.clean) for pairs in batches]
    print("| heads | ablation | direct | total | given back by attention | by MLPs |\n|---|---|---|---|---|---|")
    for kind, heads in _kinds(found, options.heads).items():
        sets = [[head] for head in heads] + ([heads] if len(heads) > 1 else [])
        for way in ("zero", "mean", "resample"):
            each = [measured(model, pairs, trace, data, sets, way) for pairs, trace in zip(batches, data, strict=True)]
            numbers = np.concatenate(each, axis=-1)
            for several, row in zip(sets, np.moveaxis(numbers, 1, 0), strict=True):
                names = ", ".join(f"{layer}.{head}" for layer, head in several)
                print(f"| {kind} {names} | {way} | {' | '.join(map(_shown, row))} |", flush=True)
    return 0


def _shown(values: np.ndarray) -> str:
    from landed_jax.intervals import mean_intervals

    low, high = mean_intervals(values)
    return f"{values.mean():+.2f} ({low:+.2f} to {high:+.2f})"


def _kinds(found: Any, most: int) -> dict[str, list[Head]]:
    """Name movers, negative heads, and others for the right name, by the table's own numbers."""
    rows = found.movers(found.direct.shape[0] * found.direct.shape[1])
    movers = [row for row in rows if row.low > 0 and row.to_right > row.to_wrong and row.copying >= 0.5]
    others = [row for row in rows if row.low > 0 and row not in movers]
    kinds = {"name mover": movers, "negative": [row for row in rows[::-1] if row.high < 0], "other": others}
    return {kind: [(row.layer, row.head) for row in some[:most]] for kind, some in kinds.items() if some}


def measured(
    model: Any, pairs: Any, trace: Any, data: Sequence[Any], sets: Sequence[Sequence[Head]], way: str
) -> np.ndarray:
    """``[number, set, prompt]``: direct, total, given back by later attentions, and by later MLPs."""
    import jax.numpy as jnp

    import landed_jax as landed
    from landed_jax.interventions import intervene, mean_of
    from landed_jax.interventions._sweep import run_sweep

    value, where = None, {}
    if way == "mean":
        mean = mean_of(data, "head", trace)
        value, where = mean.value, {"positions": mean.where["position"]}
    elif way == "resample":
        value = model.trace(pairs.corrupted, record={landed.HookPoint.HEAD})[landed.HookPoint.HEAD]
    do = "zero" if value is None else "replace"
    runs = [
        [intervene("head", do, value, layers=layer, heads=head, **where) for layer, head in heads] for heads in sets
    ]
    question = pairs.question(model.params, model.config)
    run = run_sweep(model, pairs.clean, runs, question, -1, (), None, None, None, watch=True)
    last = trace.select(-1)
    factor = last[landed.HookPoint.HEAD]
    lost = factor if value is None else factor - value[:, :, -1:]
    direct, said = zip(*(_exchanged(last, question, jnp.asarray(lost), heads) for heads in sets), strict=True)
    # What a head says less itself is no other component's doing.
    assert run.watched is not None  # asked for
    back = np.array(run.watched[..., 0])
    for place, (heads, mine) in enumerate(zip(sets, said, strict=True)):
        for (layer, _), own in zip(heads, mine, strict=True):
            back[place, layer, 0] += np.asarray(own)
    by_part = back.sum(axis=1)
    return np.stack([np.stack(direct), np.asarray(run.effect[..., 0]), by_part[:, 0], by_part[:, 1]])


def _exchanged(trace: Any, question: Any, lost: Any, heads: Sequence[Head]) -> tuple[np.ndarray, list[np.ndarray]]:
    """What a value loses with some heads' factors exchanged, and each head's part with σ held, ``[prompt]``.

    Args:
        trace: of the last position.
        lost: the factors of all heads less what stands in their place.
    """
    import landed_jax as landed
    from landed_jax.analysis.reads._read import folded, heard_at, sigma_at
    from landed_jax.nn.functions import heard, rms_sigma

    read = landed.resolve(trace, question)
    stream, vector = heard_at(trace, "final"), folded(trace, read)
    vectors = [heard(_lost_write()(trace, lost, layer, head), trace.config) for layer, head in heads]
    left = stream - functools.reduce(lambda a, b: a + b, vectors)
    without = (left * vector).sum(-1) / rms_sigma(left, trace.config.norm_eps) + read.offset
    said = [np.asarray((part * vector).sum(-1) / sigma_at(trace, "final"))[:, 0] for part in vectors]
    return np.asarray(read.value - without)[:, 0], said


@functools.cache
def _lost_write() -> Any:
    import jax
    import jax.numpy as jnp

    from landed_jax.analysis.writes._projections import from_layers
    from landed_jax.nn.hook_points import HookPoint
    from landed_jax.trace import bare

    @jax.jit
    def of(trace: Any, lost: Any, layer: Any, head: Any) -> Any:
        import dataclasses

        exchanged = dataclasses.replace(bare(trace), sown={**trace.sown, HookPoint.HEAD.value: lost})
        index = jnp.full(lost.shape[1:3], head)
        return from_layers(exchanged, lambda writes: writes.head(index))[layer]

    return of


if __name__ == "__main__":
    sys.exit(main())
