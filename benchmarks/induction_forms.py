"""How induction forms during a training: a table and a figure over its kept steps.

    landed testbed train my-model --keep-steps powers
    python -m benchmarks.induction_forms my-model/steps

Prompts are the induction task's, held out of training, the same at every step whether or not they are answered. The
*circuit* is chosen at the last step: the heads without which (mean ablation at every position) the mean logit
difference of right and wrong word falls by a tenth or more, on other prompts than those that are measured. *Full*: the
loss at the right word; *restricted*: with all heads but the circuit's ablated; *excluded*: with the circuit's ablated.
*Induction heads* have a prefix-matching score of at least one half at the last step, on random sequences of the task's
words. σ and |γ|/σ (its median over coordinates) are means over positions that are no first token and no delimiter.
Intervals: 95 %, bootstrap over prompts (over sequences, for scores).
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import formation_figure, markdown
from benchmarks.environment import prepare
from benchmarks.induction_heads import induction_heads

PAGE = "training.md"
LOSSES = ("full", "restricted", "excluded")
SHARE = 0.1
"""Of the mean logit difference: what a head of the circuit takes with it at least."""


@dataclass(frozen=True)
class Curve:
    """A number at each step, and its interval."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Formation:
    """What is measured at each step.

    Attributes:
        prompts: how many.
        losses: by their name, in nats.
        value: the logit difference of right and wrong word.
        landed: of the induction heads together, in logits, to that difference.
        sigma_share: of the induction heads together, at the final norm.
        scores: prefix matching, the mean of the induction heads; previous token, that of the circuit's heads which
            look there at the last step.
        amplification, sigma: ``[step, site]``.
    """

    prompts: int
    steps: list[int]
    circuit: list[tuple[int, int]]
    heads: list[tuple[int, int]]
    losses: dict[str, Curve]
    value: Curve
    landed: Curve
    sigma_share: Curve
    scores: dict[str, Curve]
    sites: list[str]
    amplification: np.ndarray
    sigma: np.ndarray


def circuit_of(model: Any, data: list[Any]) -> list[tuple[int, int]]:
    """The heads whose mean ablation takes at least `SHARE` of the mean logit difference."""
    from landed_jax import HookPoint
    from landed_jax.comparison import LEVELS, head_effects, kept_values
    from landed_jax.comparison._baselines import means_of

    means = means_of(model, data, [HookPoint.HEAD])
    effects = np.concatenate([head_effects(model, pairs, "mean", means=means) for pairs in data], axis=1).mean(axis=1)
    whole = np.ones((1, *effects.shape), bool)
    values = [kept_values(model, pairs, LEVELS["heads"], whole, {HookPoint.HEAD: None})[0] for pairs in data]
    found = np.argwhere(effects >= SHARE * np.concatenate(values).mean())
    return [(int(layer), int(head)) for layer, head in found]


def measure(folder: Path, prompts: int, sequences: int, seed: int, out: Path | None) -> Formation:
    """Everything, one checkpoint after another.

    Raises:
        LandedError: for a folder without checkpoints whose names tell steps, and a model in which nothing has formed.
    """
    import landed_jax as landed
    from landed_jax.errors import LandedError
    from landed_jax.studies import progress_measures, series
    from landed_jax.tasks import kept, pairs_of
    from landed_jax.testbed.prompts import tasks

    task = tasks()["induction"]
    asked = task.prompts(prompts, seed=seed)
    keep = ["attribution", "scale", "sigma_shares"]
    found = series(folder, asked, keep, out, watch=_say)
    steps = found.checkpoints
    if not all(isinstance(step, int) for step in steps):
        raise LandedError(f"The names of the checkpoints in {folder} do not each tell another step.")
    last = landed.load(folder / [*found.studies][-1])
    others = pairs_of(kept(last, task.prompts(prompts, seed=seed + 1), right_only=False))
    circuit = circuit_of(last, others)
    heads, scores = induction_heads(last, sequences, seed)
    if not heads or not circuit:
        raise LandedError(f"At step {steps[-1]} no head has an induction score of one half, or none matters.")
    looking = scores.mean("previous_token") >= 0.5
    back = [head for head in circuit if looking[head]]
    data = pairs_of(kept(last, asked, right_only=False))
    losses: dict[str, list[np.ndarray]] = {name: [] for name in LOSSES}
    named: dict[str, list[np.ndarray]] = {"prefix matching": [], "previous token": []}
    for name in found.studies:
        model = landed.load(folder / name)
        measured = progress_measures(model, data, circuit)
        for loss in LOSSES:
            losses[loss].append(getattr(measured, loss))
        _, scores = induction_heads(model, sequences, seed)
        named["prefix matching"].append(_together(scores.induction, heads))
        if back:
            named["previous token"].append(_together(scores.previous_token, back))
        print(f"step {name}: losses and scores", file=sys.stderr, flush=True)
    table = found.to_xarray()
    other = table.sel({"class": "other"})
    return Formation(
        sum(map(len, data)),
        [int(step) for step in steps],
        circuit,
        heads,
        {name: _curve(rows) for name, rows in losses.items()},
        _curve(found.rows["attribution.value"]),
        _curve(_summed(found.rows["attribution.heads"], heads)),
        _curve(_summed(found.rows["sigma_shares.heads"], heads)),
        {name: _curve(rows) for name, rows in named.items() if rows},
        [str(site) for site in table["site"].values],
        other["scale.amplification.mean"].values,
        other["scale.sigma.mean"].values,
    )


def _say(name: str, done: int, total: int | None) -> None:
    if not done:
        print(f"step {name}: study", file=sys.stderr, flush=True)


def _together(scores: Any, heads: list[tuple[int, int]]) -> np.ndarray:
    """The heads' mean score in each sequence."""
    return np.mean([np.asarray(scores)[head] for head in heads], axis=0)


def _summed(rows: np.ndarray, heads: list[tuple[int, int]]) -> np.ndarray:
    """``[step, prompt]`` of ``[step, prompt, layer, head]``."""
    return np.sum([rows[:, :, layer, head] for layer, head in heads], axis=0)


def _curve(rows: Any) -> Curve:
    """Of ``[step, sample]``."""
    from landed_jax.intervals import mean_intervals

    values = np.asarray(rows, np.float64)
    return Curve(values.mean(axis=1), *mean_intervals(values))


def as_text(found: Formation) -> str:
    """Which heads are meant, and a row a step; an interval behind the losses and the contribution."""
    ranged = {**{f"{name}, nats": curve for name, curve in found.losses.items()}, "landed, logits": found.landed}
    plain = {
        "difference, logits": found.value.mean,
        "σ share": found.sigma_share.mean,
        **{name: curve.mean for name, curve in found.scores.items()},
        "final |γ|/σ": found.amplification[:, -1],
        "final σ": found.sigma[:, -1],
    }
    rows = [
        [
            f"{step:,}",
            *(f"{of.mean[i]:.3g} ({of.low[i]:.3g} to {of.high[i]:.3g})" for of in ranged.values()),
            *(f"{values[i]:.3g}" for values in plain.values()),
        ]
        for i, step in enumerate(found.steps)
    ]
    circuit, heads = (", ".join(f"{layer}.{head}" for layer, head in places) for places in (found.circuit, found.heads))
    meant = f"Circuit: {circuit}. Induction heads: {heads}. Intervals: 95 %, over {found.prompts} prompts."
    return f"{meant}\n\n{markdown.markdown(['step', *ranged, *plain], rows)}\n"


def main() -> int:
    prepare()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.induction_forms",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="the kept steps, such as my-model/steps")
    parser.add_argument("--prompts", type=int, default=256)
    parser.add_argument("--sequences", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a folder for the studies, from which a killed run goes on")
    parser.add_argument("--figure", type=Path, help="by default induction_forms.svg, here")
    parser.add_argument("--page", action="store_true", help=f"put table and figure into docs/{PAGE}")
    options = parser.parse_args()
    from landed_jax.errors import LandedError

    try:
        found = measure(options.folder, options.prompts, options.sequences, options.seed, options.out)
    except LandedError as error:
        print(error, file=sys.stderr)
        return 2
    print(as_text(found))
    figure = options.figure or (markdown.DOCS if options.page else Path()) / "induction_forms.svg"
    try:
        formation_figure.draw(found, figure)
    except ImportError:
        print("No figure: matplotlib is not installed (pip install '.[bench]').", file=sys.stderr)
        return 2
    if options.page:
        markdown.put(PAGE, f"![How induction forms, step by step]({figure.name})\n\n{as_text(found)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
