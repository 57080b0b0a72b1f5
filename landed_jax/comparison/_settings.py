"""What is compared: levels, ablations, and how many prompts and components."""

from dataclasses import dataclass

from landed_jax.comparison._baselines import ABLATIONS
from landed_jax.comparison._curves import FRACTIONS, kept_counts
from landed_jax.comparison._levels import EDGES, level_of
from landed_jax.errors import LandedError, shown
from landed_jax.model import Model
from landed_jax.numerics import whole_number


@dataclass(frozen=True)
class Settings:
    """What is compared.

    Attributes:
        prompts: how many that the model answers.
        circuit_prompts: on how many of them, the first ones, circuits run and neurons are ablated.
        neurons: how many neurons are ablated one by one.
        threshold: the faithfulness for which the components that are enough are counted.
        draws: resamplings of the prompts behind each interval.
        seed: of the prompts, the sample of neurons and the resamplings.
    """

    levels: tuple[str, ...] = ("heads", "neurons")
    ablations: tuple[str, ...] = ("zero",)
    prompts: int = 200
    circuit_prompts: int = 32
    neurons: int = 128
    fractions: tuple[float, ...] = FRACTIONS
    threshold: float = 0.8
    draws: int = 1000
    seed: int = 0

    def check(self, model: Model) -> None:
        """Refuse what there is not, before anything runs.

        Raises:
            LandedError: for a level, an ablation or a number that cannot be.
        """
        if not self.levels or not self.ablations:
            raise LandedError("A comparison takes at least one level and one ablation.")
        for name in self.levels:
            if name != EDGES:
                level_of(name, model.config)
        for name in self.ablations:
            if name not in ABLATIONS:
                raise LandedError(f"There is no ablation {name!r}: these are {', '.join(ABLATIONS)}.")
        if self.prompts < 2 or self.circuit_prompts < 2:
            raise LandedError("Intervals over prompts take at least two prompts.")
        if self.neurons < 2:
            raise LandedError(f"A correlation takes at least two neurons to ablate, not {self.neurons}.")
        if len(self.fractions) < 2:
            raise LandedError(f"An area takes at least two fractions of components, not {self.fractions}.")
        kept_counts(1, self.fractions)
        if not whole_number(self.seed) or not 0 <= self.seed < 2**32:
            raise LandedError(f"A seed is a whole number from 0 to 2**32 - 1, not {shown(self.seed)}.")
