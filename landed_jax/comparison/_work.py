"""The steps of a comparison on one task's prompts, and where what they find is kept."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from landed_jax.comparison._baselines import means_of
from landed_jax.comparison._correlation import Correlation, correlation
from landed_jax.comparison._curves import top_masks
from landed_jax.comparison._evidence import evidence
from landed_jax.comparison._levels import EDGES, LEVELS, Level, check_scored, scores_at
from landed_jax.comparison._rows import LevelComparison, MethodFacts, Row, masks_of, row_of
from landed_jax.comparison._scoring import Forward, Method, TaskScores, score_batches
from landed_jax.comparison._settings import Settings
from landed_jax.comparison._truth import head_effects, neuron_effects, sampled
from landed_jax.comparison._values import Circuits
from landed_jax.interventions import chosen_neurons, every_head
from landed_jax.interventions._saved import digest
from landed_jax.interventions._stacks import Stack
from landed_jax.model import Model
from landed_jax.nn.hook_points import HookPoint
from landed_jax.tasks import Kept, Pairs, pairs_of

ROUNDS = 3
"""How often the interval of sizes in which a circuit becomes faithful enough is halved."""
TRUTH = "own ablation"
"""The name under which the measured effects themselves are ranked, where all components' are known."""
EDGE_METHODS = {"edge attribution": 0, "edge attribution, 5 steps": 5}
"""The methods that score edges: the steps of `landed.circuits.edge_attribution`."""

Say = Callable[[str], None]
Report = Callable[[int, int], None]


def nothing(*_: Any) -> None:
    """What is said where nobody listens."""


class Measured(NamedTuple):
    """Effects of components that were ablated alone.

    Attributes:
        places: which components of the level, counted over all layers.
        prompts: at which of the task's prompts, in the order of batches.
    """

    effects: Float[np.ndarray, "prompt component"]
    places: Int[np.ndarray, " component"]
    prompts: Int[np.ndarray, " prompt"]


@dataclass(frozen=True, eq=False)
class Work:
    """A task's prompts in batches.

    Attributes:
        few: the batches of the prompts on which circuits run.
        places: where these prompts are among all, in the order of batches.
        folder: where what is found is kept, if anywhere.
        weights: a checksum of the model's.
        means: of the hook points for which they were asked, over all prompts.
    """

    model: Model
    task: str
    settings: Settings
    batches: list[Pairs]
    few: list[Pairs]
    places: Int[np.ndarray, " few"]
    folder: Path | None
    weights: str
    say: Say
    report: Report
    forward: Forward
    means: dict[HookPoint, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        model: Model,
        task: str,
        kept: Kept,
        settings: Settings,
        folder: Path | None,
        say: Say,
        report: Report,
        dtype: Any,
    ) -> "Work":
        # As `pairs_of` orders them: of the first prompts the order is that of all, without the others.
        order = np.argsort([len(ids) for ids in kept.clean], kind="stable")
        places = np.flatnonzero(order < settings.circuit_prompts)
        few = pairs_of(kept.first(settings.circuit_prompts))
        weights = "" if folder is None else digest(model.params)
        forward = Forward(model, dtype)
        return cls(model, task, settings, pairs_of(kept), few, places, folder, weights, say, report, forward)

    def within(self, *names: str) -> Path | None:
        """A folder within the task's."""
        return None if self.folder is None else self.folder.joinpath(*names)

    def scores(self, methods: Sequence[Method]) -> list[TaskScores]:
        """Of all methods."""
        found, out = [], self.within("scores")
        for method in methods:
            self.say(f"{self.task}: scores by {method.name}")
            found.append(score_batches(method, self.model, self.batches, self.forward, self.weights, out))
        return found

    def facts(self, method: Method, scores: TaskScores) -> MethodFacts:
        """A method's cost, conservation and evidence."""
        error, value = scores.along("conservation_error", 0), scores.along("value", 0)
        share = None if error is None or value is None else float(np.abs(error).mean() / np.abs(value).mean())
        tokens = [batch.tokens for batch in scores.batches]
        known = None if tokens[0] is None else evidence(tokens, self.batches)
        return MethodFacts(method.name, method.reference, method.differs, scores.cost, share, known)

    def level(self, name: str, ablation: str, scores: Sequence[TaskScores]) -> LevelComparison:
        """All methods that score a level's components.

        Raises:
            LandedError: where none does.
        """
        level = LEVELS[name]
        if ablation == "mean":
            sites = [part.site for part in level.parts if part.site not in self.means]
            self.means.update(means_of(self.model, self.batches, sites, self.forward.dtype))
        found = {}
        for one in scores:
            own = scores_at(level, one.along("heads", 1), one.along("neurons", 1))
            if own is not None:
                found[one.name] = own
        check_scored(name, bool(found))
        ranked = {method: own.mean(axis=0) for method, own in found.items()}
        measured = self.measured(name, ablation, ranked)
        correlations = {}
        if measured is not None:
            effects, places, prompts = measured
            for method, own in found.items():
                correlations[method] = correlation(own[prompts].reshape(len(prompts), -1)[:, places], effects)
            if name == "heads":
                ranked[TRUTH] = effects.mean(axis=0).reshape(next(iter(ranked.values())).shape)
                correlations[TRUTH] = correlation(effects, effects)
        rows = self.rows(level, ablation, ranked, correlations)
        count = 0 if measured is None else len(measured.places)
        return LevelComparison(name, ablation, next(iter(ranked.values())).size, count, level.keeps, rows)

    def measured(
        self, level: str, ablation: str, ranked: Mapping[str, Float[np.ndarray, "layer component"]]
    ) -> Measured | None:
        """Every head's effects, or those of a sample of neurons; None at other levels."""
        if level == "heads":
            effects = self._alone(every_head(self.model.config), self.batches, ablation, (ablation,), head_effects)
            return Measured(effects, np.arange(effects.shape[1]), np.arange(len(effects)))
        if level == "neurons":
            chosen = sampled(list(ranked.values()), self.settings.neurons, seed=self.settings.seed)

            def of_chosen(model: Model, pairs: Pairs, ablation: str, **how: Any) -> np.ndarray:
                return neuron_effects(model, pairs, chosen, ablation, **how).T[None]

            folder = ("neurons", f"{ablation}_{digest(chosen)[:8]}")
            stack = chosen_neurons([tuple(place) for place in chosen.tolist()])
            effects = self._alone(stack, self.few, ablation, folder, of_chosen)
            layer, neuron = chosen.T
            return Measured(effects, layer * self.model.config.d_ff + neuron, self.places)
        return None

    def _alone(
        self, stack: Stack, batches: Sequence[Pairs], ablation: str, folder: tuple[str, ...], effects: Any
    ) -> Float[np.ndarray, "prompt component"]:
        """Effects, ``[layer, batch, component]``, of all batches; what they take is said before."""
        depth = self.model.config.n_layers
        passes = sum(depth - int(one.where["layer"][0]) for (one,) in stack.members) / depth
        said = f"each of {len(stack)} {list(stack.axes)[-1]}s ablated alone, {ablation}"
        self.say(f"{self.task}: {said}, {sum(map(len, batches))} prompts: {self._passes(passes, batches)}")
        parts = []
        for number, pairs in enumerate(batches):

            def report(done: int, total: int, number: int = number) -> None:
                self.report(number * total + done, len(batches) * total)

            how: dict[str, Any] = {"means": self.means, "progress": report, "dtype": self.forward.dtype}
            found = effects(self.model, pairs, ablation, out=self.within(*folder, str(number)), **how)
            parts.append(found.swapaxes(0, 1).reshape(len(pairs), -1))
        return np.concatenate(parts)

    def _passes(self, passes: float, batches: Sequence[Pairs]) -> str:
        """How long some forward passes over some batches take, in words."""
        seconds = passes * sum(map(self.forward.seconds, batches))
        return f"{passes:.0f} forward passes, about {seconds:.0f} s unless they are finished"

    def edge_scores(self) -> dict[str, Float[np.ndarray, " edge"]]:
        """Every edge's mean score, by each of the methods that score edges."""
        from landed_jax.circuits import edge_attribution

        found = {}
        for method, steps in EDGE_METHODS.items():
            self.say(f"{self.task}: scores by {method}")
            total = 0
            for number, pairs in enumerate(self.batches):
                scores = edge_attribution(self.model, pairs, steps=steps, dtype=self.forward.dtype).scores
                total = total + np.asarray(scores, np.float64).sum(axis=0)
                self.report(number + 1, len(self.batches))
            found[method] = total / sum(map(len, self.batches))
        return found

    def edges(self, ablation: str, scores: Mapping[str, Float[np.ndarray, " edge"]]) -> LevelComparison:
        """The methods that score edges."""
        ranked = {method: own[None] for method, own in scores.items()}
        rows = self.rows(None, ablation, ranked, {})
        return LevelComparison(EDGES, ablation, next(iter(ranked.values())).size, 0, "every node", rows)

    def rows(
        self,
        level: Level | None,
        ablation: str,
        ranked: Mapping[str, Float[np.ndarray, "layer component"]],
        correlations: Mapping[str, Correlation],
    ) -> tuple[Row, ...]:
        """Each method's curves: all circuits together, so that equal ones are run once."""
        dtype, fractions = self.forward.dtype, self.settings.fractions
        circuits = Circuits(self.model, self.few, self.batches, level, ablation, self.means, self.weights, dtype)
        shape = next(iter(ranked.values())).shape
        own = np.stack([masks_of(scores, fractions) for scores in ranked.values()])
        ends = np.stack([np.ones(shape, bool), np.zeros(shape, bool)])
        masks = np.concatenate([ends, own.reshape(-1, *shape)])
        self.say(f"{self.task}: {self.about(circuits, masks)}")
        out = self.within("circuits")
        values = circuits.values(masks, out, self.report)
        by_method = values[2:].reshape(*own.shape[:3], -1)
        rows = [
            row_of(method, correlations.get(method), fractions, shape[0] * shape[1], kept, values[0], values[1])
            for method, kept in zip(ranked, by_method, strict=True)
        ]
        self.say(f"{self.task}: how many {circuits.name} are enough, {ablation} ablation")
        for _ in range(ROUNDS):
            counts = [row.fine.between(self.settings.threshold) for row in rows]
            finer = [
                top_masks(own, [count], absolute=False) for own, count in zip(ranked.values(), counts, strict=True)
            ]
            values = circuits.values(np.concatenate(finer), out, self.report)
            rows = [row.finer(count, value) for row, count, value in zip(rows, counts, values, strict=True)]
        return tuple(rows)

    def about(self, circuits: Circuits, masks: np.ndarray) -> str:
        """What circuits are going to take, in words."""
        passes, prompts = circuits.passes(masks), sum(map(len, self.few))
        words = f"circuits of {circuits.name}, {circuits.ablation} ablation, {prompts} prompts"
        if circuits.level is None:
            return f"{words}: {passes:.0f} of them"
        return f"{words}: {self._passes(passes, self.few)}"
