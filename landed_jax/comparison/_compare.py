"""Attribution methods compared on one task: with measured effects, by faithfulness, by known evidence, and by cost."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from landed_jax.comparison._levels import EDGES, check_scored
from landed_jax.comparison._rows import LevelComparison, MethodFacts
from landed_jax.comparison._scoring import Method
from landed_jax.comparison._settings import Settings
from landed_jax.comparison._work import Report, Say, Work, nothing
from landed_jax.errors import LandedError
from landed_jax.files.kinds import expanded
from landed_jax.model import Model
from landed_jax.plotted import Plotted
from landed_jax.tasks import Kept, ListedTask, Task, answered


@dataclass(frozen=True, eq=False)
class TaskComparison(Plotted):
    """What was found on one task."""

    task: str
    kept: Kept
    settings: Settings
    methods: tuple[MethodFacts, ...]
    levels: tuple[LevelComparison, ...]
    edge_scores: Mapping[str, Float[np.ndarray, " edge"]]


def compare(
    model: Model,
    task: Task | ListedTask,
    methods: Sequence[Method],
    settings: Settings | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    say: Say = nothing,
    report: Report = nothing,
    dtype: Any = None,
) -> TaskComparison:
    """Score methods on one task's prompts, those that the model answers.

    Args:
        methods: such as ``landed.methods.methods().values()``.
        settings: by default heads and neurons under zero ablation, 200 prompts.
        out: a folder that keeps scores, effects and circuits' values as they are found: the same call after an
            interruption goes on from there, and another one takes what it can use.
        say: called with what is done next.
        report: called with how far that is: ``(done, total)``.
        dtype: float32 or float64; by default JAX's default float.

    Raises:
        LandedError: for settings that cannot be, a level that none of the methods scores, prompts of which the model
            answers fewer than two, and a folder that holds something else, such as numbers of another seed or dtype.

    References:
        Mueller et al., MIB: A Mechanistic Interpretability Benchmark, 2025, arXiv:2504.13151.
    """
    settings = settings or Settings()
    settings.check(model)
    for name in settings.levels:
        if name not in ("heads", EDGES):
            check_scored(name, any(method.neurons for method in methods))
    say(f"{task.name}: finding prompts that the model answers")
    kept = answered(model, task, settings.prompts, seed=settings.seed)
    if len(kept.prompts) < 2:
        raise LandedError(f"{task.name}: the model answers too few prompts to compare anything: {kept!r}.")
    folder = None if out is None else expanded(out) / task.name.replace(" ", "_")
    work = Work.of(model, task.name, kept, settings, folder, say, report, dtype)
    scores = work.scores(methods)
    levels = [
        work.level(name, ablation, scores)
        for ablation in settings.ablations
        for name in settings.levels
        if name != EDGES
    ]
    edges = work.edge_scores() if EDGES in settings.levels else {}
    levels += [work.edges(ablation, edges) for ablation in settings.ablations if edges]
    facts = tuple(work.facts(*pair) for pair in zip(methods, scores, strict=True))
    return TaskComparison(task.name, kept, settings, facts, tuple(levels), edges)
