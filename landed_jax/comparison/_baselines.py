"""What ablated components become: 0, their mean over the task's prompts, or what they are in the corrupted prompt."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

from landed_jax.comparison._levels import Level
from landed_jax.errors import LandedError
from landed_jax.interventions._mean import ClassMeans, class_means
from landed_jax.model import Model
from landed_jax.nn.hook_points import HookPoint
from landed_jax.tasks import Pairs
from landed_jax.tokens import check_aligned

Ablation = Literal["zero", "mean", "resample"]
ABLATIONS: tuple[Ablation, ...] = get_args(Ablation)

Baselines = dict[HookPoint, Any]
"""By hook point, what broadcasts to its value in all layers; None for 0."""


def means_of(
    model: Model, data: Sequence[Pairs], sites: Sequence[HookPoint], dtype: Any = None
) -> dict[HookPoint, ClassMeans]:
    """Each hook point's mean over the clean prompts of a task, by position class (first token, delimiter, other)."""
    return {
        site: class_means((model.trace(pairs.clean, record={site}, dtype=dtype) for pairs in data), site)
        for site in sites
    }


def baselines(
    model: Model, pairs: Pairs, level: Level, ablation: str, means: dict[HookPoint, ClassMeans], dtype: Any = None
) -> Baselines:
    """What a level's components become in some prompts.

    Args:
        means: of the task's prompts; read where the ablation is ``mean``.

    Raises:
        LandedError: for an ablation that there is not, and prompts to resample that are not aligned.
    """
    sites = {part.site for part in level.parts}
    if ablation == "zero":
        return dict.fromkeys(sites)
    if ablation == "resample":
        check_aligned(pairs.clean, pairs.corrupted)
        trace = model.trace(pairs.corrupted, record=sites, dtype=dtype)
        return {site: trace[site] for site in sites}
    if ablation == "mean":
        prompts = model.trace(pairs.clean, record=(), dtype=dtype)
        return {site: means[site].at(prompts).value for site in sites}
    raise LandedError(f"There is no ablation {ablation!r}: these are {', '.join(ABLATIONS)}.")
