"""What a keep measures of a batch: arrays with named axes, and what is to be kept of each."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from landed_jax.analysis.attribution._attribute import attribute
from landed_jax.analysis.attribution._result import Attribution
from landed_jax.analysis.reads._read import Read
from landed_jax.errors import LandedError
from landed_jax.nn.hook_points import WRITES, HookPoint
from landed_jax.nn.weight_norms import WeightNorms
from landed_jax.trace import Trace


@dataclass(frozen=True)
class Kind:
    """What is kept of a variable.

    Attributes:
        axes: the names of the axes after the prompts' (and the positions').
        by_position: whether a sample is a position: its statistics are of each class of positions, and it has no rows.
        row: whether every prompt's number is kept.
        statistics: whether statistics are kept.
        quantiles: whether these hold quantiles, at `BUCKETS` counts a cell.
        above: bounds; the share of samples above each is kept.
        top: how many of the largest samples are kept with their prompts.
        pooled: whether the last axis is one of samples, as the prompts' is.
        nested: whether a prompt's number is a mean over samples of its own, which `Groups` are kept of.
        ranked: the axes whose order by size is compared between prompts, together; none where that is not kept. Neither
            goes with `by_position` or `pooled`.
    """

    axes: tuple[str, ...] = ()
    by_position: bool = False
    row: bool = True
    statistics: bool = True
    quantiles: bool = True
    above: tuple[float, ...] = ()
    top: int = 0
    pooled: bool = False
    nested: bool = False
    ranked: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.nested or self.ranked) and (self.by_position or self.pooled):
            raise LandedError("What is nested or ranked is one number a prompt: neither by position nor pooled.")

    @property
    def cells(self) -> tuple[str, ...]:
        """The axes of the statistics."""
        own = self.axes[:-1] if self.pooled else self.axes
        return (*own, "class") if self.by_position else own


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Measured:
    """One variable of a batch.

    Attributes:
        values: ``[prompt, *axes]``, or ``[prompt, position, *axes]``.
        where: which of them are defined, of a shape that broadcasts against theirs; by default all.
        places: what else says where a value is from, for `Largest`.
        samples: of a `nested` kind, how many each value is the mean of, likewise broadcast; it is defined where there
            are any.
        squares: their squared deviations from it, summed.
    """

    values: Array
    kind: Kind = dataclasses.field(default=Kind(), metadata={"static": True})
    where: Bool[Array, "..."] | None = None
    places: Int[Array, "..."] | None = None
    samples: Int[Array, "..."] | None = None
    squares: Float[Array, "..."] | None = None

    @property
    def defined(self) -> Bool[Array, "..."] | None:
        """Which values there are; None for all."""
        return self.where if self.samples is None else self.samples > 0


@dataclass(frozen=True)
class View:
    """A batch of prompts as the keeps see it, inside the compiled program.

    Attributes:
        whole: the bound trace at all columns, padded on the left; None where no keep looks at them.
        last: the bound trace at the asked position alone.
        read: the question, resolved at `last`.
        top: ids of the likeliest next tokens there.
        right, wrong: ids of the answers, `NO_ANSWER` where a prompt has fewer than others. A prompt without a right one
            has its likeliest next token in its place.
        classes: which class each position belongs to, beside `whole`.
        sources: which class each column of the tokens belongs to, beside the sources that a head attends to.
        effects: whether a keep wants direct effects.
        norms: `weight_norms` of the weights, where effects are wanted.
    """

    whole: Trace | None
    last: Trace
    read: Read
    top: Int[Array, " prompt"]
    right: Int[Array, "prompt answer"]
    wrong: Int[Array, "prompt answer"]
    classes: Bool[Array, "class prompt position"] | None
    sources: Bool[Array, "class prompt source"]
    effects: bool
    norms: WeightNorms | None

    @functools.cached_property
    def attribution(self) -> Attribution:
        """The attribution of the question, which several keeps share."""
        return attribute(self.last, self.read, effects=self.effects, norms=self.norms)


@dataclass(frozen=True)
class Keep:
    """What is found out of every prompt.

    Attributes:
        name: that it is asked for by; its variables begin with it.
        measure: the variables of a batch. Traced once a shape.
        record: the hook points that it needs.
        everywhere: whether it looks at all positions.
        effects: whether it needs direct effects.
        help: one line.
    """

    name: str
    measure: Callable[[View], Mapping[str, Measured]]
    record: frozenset[HookPoint] = WRITES
    everywhere: bool = False
    effects: bool = False
    help: str = ""


def prompts_first(value: Any) -> Float[Array, "prompt *axes"]:
    """``[…, prompt, 1, …]`` of one layer axis in front, as ``[prompt, …]`` without the position's axis."""
    return jnp.moveaxis(value[:, :, 0], 0, 1)
