"""The largest samples, with the prompts that they came from."""

from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

NONE = -1
"""The prompt of a place that no sample has taken."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Largest:
    """The k samples of the largest size of each cell, largest first.

    Of equal size the one of the earlier prompt comes first, then the one of the lower `place`: the choice does not
    depend on the order in which the samples came.

    Attributes:
        values: NaN where there are fewer samples than k.
        prompts: numbers of prompts; `NONE` there.
        places: what else says where a sample came from, such as a write's number; 0 where nothing does.

    >>> found = Largest.of(np.array([0.5, -3.0, 2.0]), np.array([7, 8, 9]), 2)
    >>> found.values.tolist(), found.prompts.tolist()
    ([-3.0, 2.0], [8, 9])
    """

    values: Float[np.ndarray, "*cell rank"]
    prompts: Int[np.ndarray, "*cell rank"]
    places: Int[np.ndarray, "*cell rank"]

    @classmethod
    def empty(cls, shape: tuple[int, ...], k: int) -> "Largest":
        """No sample in any cell."""
        places = np.zeros((*shape, k), np.int64)
        return cls(np.full((*shape, k), np.nan), np.full_like(places, NONE), places)

    @classmethod
    def of(
        cls,
        samples: Float[np.ndarray, "sample *cell"],
        prompts: Int[np.ndarray, " sample"],
        k: int,
        where: Bool[np.ndarray, "sample *cell"] | None = None,
        places: Int[np.ndarray, "sample *cell"] | None = None,
    ) -> "Largest":
        """The largest over the first axis."""
        wide = np.moveaxis(np.asarray(samples, np.float64), 0, -1)
        numbers = np.broadcast_to(np.asarray(prompts, np.int64), wide.shape)
        if where is not None:
            chosen = np.moveaxis(np.broadcast_to(where, np.shape(samples)), 0, -1)
            wide, numbers = np.where(chosen, wide, np.nan), np.where(chosen, numbers, NONE)
        beside = np.zeros(wide.shape, np.int64) if places is None else np.moveaxis(places, 0, -1).astype(np.int64)
        return cls.empty(wide.shape[:-1], k).merged(cls(wide, numbers, beside))

    def merged(self, other: "Largest") -> "Largest":
        """The largest of both sets of samples, as many as `self` holds."""
        values, prompts, places = (
            np.concatenate([getattr(part, name) for part in (self, other)], axis=-1)
            for name in ("values", "prompts", "places")
        )
        size = np.where(prompts == NONE, -np.inf, np.abs(values))
        order = np.lexsort((places, prompts, -size), axis=-1)[..., : self.values.shape[-1]]
        return Largest(*(np.take_along_axis(part, order, axis=-1) for part in (values, prompts, places)))

    def renumbered(self, first: int) -> "Largest":
        """The same with the prompts' numbers counted from `first`."""
        return Largest(self.values, np.where(self.prompts == NONE, NONE, self.prompts + first), self.places)
