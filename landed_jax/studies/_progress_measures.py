"""Progress measures: a task's loss with the chosen heads alone, and without them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from landed_jax.comparison import LEVELS, kept_values
from landed_jax.comparison._baselines import Ablation, baselines, means_of
from landed_jax.errors import LandedError
from landed_jax.intervals import mean_intervals
from landed_jax.interventions import LogProbability
from landed_jax.model import Model
from landed_jax.nn.hook_points import HookPoint
from landed_jax.plotted import Plotted
from landed_jax.tasks import Pairs


@dataclass(frozen=True, eq=False)
class ProgressMeasures(Plotted):
    """Losses of the right answer, in nats, prompt by prompt in the order of the pairs.

    Attributes:
        full: of the model as it is.
        restricted: with the chosen heads alone: all others are ablated at every position.
        excluded: with the chosen heads ablated at every position.
    """

    full: Float[np.ndarray, " prompt"]
    restricted: Float[np.ndarray, " prompt"]
    excluded: Float[np.ndarray, " prompt"]

    def interval(self, name: str, level: float = 0.95, *, seed: int = 0) -> tuple[float, float]:
        """The bootstrap interval over prompts of a loss's mean; all losses share the resamples.

        Args:
            name: ``full``, ``restricted`` or ``excluded``.
        """
        low, high = mean_intervals(getattr(self, name), level, seed=seed)
        return float(low), float(high)


def progress_measures(
    model: Model,
    data: Sequence[Pairs],
    heads: Sequence[tuple[int, int]],
    *,
    ablation: Ablation = "mean",
    dtype: Any = None,
) -> ProgressMeasures:
    """How much of a task's loss the chosen heads explain: as a circuit forms, the restricted loss falls first.

    The heads are chosen once, by the end of the training, and measured in each checkpoint. Embeddings, biases and MLPs
    stay as they are. It deviates from Nanda et al.: they keep and exclude Fourier components of one-layer models'
    *logits*, and take the excluded loss on the training data. Here components of the *model* are kept and ablated, so
    that later layers hear the ablation, on the prompts that are given.

    Args:
        data: prompts of a task, in batches: all that can be asked (``kept(…, right_only=False)``), since those that a
            model in training already answers would be others at every step. Of several right answers the first counts.
        heads: ``(layer, head)``.
        ablation: ``mean`` (over the clean prompts, by position class), ``zero``, or ``resample`` (what the head does in
            the corrupted prompt).

    Raises:
        LandedError: for no prompts, heads that the model does not have, and an ablation that there is not.

    References:
        Nanda et al., Progress measures for grokking via mechanistic interpretability, 2023, arXiv:2301.05217.

    >>> import landed_jax as landed
    >>> from landed_jax.tasks import kept, pairs_of
    >>> from landed_jax.testbed.prompts import tasks
    >>> model = landed.load()
    >>> data = pairs_of(kept(model, tasks()["succession"].prompts(8), right_only=False))
    >>> found = progress_measures(model, data, [], ablation="zero")
    >>> bool((found.excluded == found.full).all() and found.restricted.mean() > found.full.mean())
    True
    """
    if not data:
        raise LandedError("Progress measures are of at least one prompt.")
    config, level = model.config, LEVELS["heads"]
    chosen = np.zeros((config.n_layers, config.n_heads), bool)
    for layer, head in heads:
        if not (0 <= layer < config.n_layers and 0 <= head < config.n_heads):
            raise LandedError(f"There is no head {layer}.{head}: there are {config.n_layers} × {config.n_heads}.")
        chosen[layer, head] = True
    masks = np.stack([np.ones_like(chosen), chosen, ~chosen])
    means = means_of(model, data, [HookPoint.HEAD], dtype) if ablation == "mean" else {}
    parts = [
        -kept_values(
            model,
            pairs,
            level,
            masks,
            baselines(model, pairs, level, ablation, means, dtype),
            measure=LogProbability(pairs.right[:, 0]),
            dtype=dtype,
        )
        for pairs in data
    ]
    return ProgressMeasures(*np.concatenate(parts, axis=1))
