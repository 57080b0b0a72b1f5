"""How many coordinates carry the asked value."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from landed_jax.analysis.basis._coordinates import coordinates
from landed_jax.studies._measured import Keep, Kind, Measured, View

PERCENTS = (50, 90, 99)


def _measure(view: View) -> dict[str, Measured]:
    found = coordinates(view.last, view.read)

    def counts(count: Callable[[float], jax.Array]) -> Measured:
        numbers = [count(percent / 100)[:, 0] for percent in PERCENTS]
        return Measured(jnp.stack(numbers, axis=-1).astype(found.value.dtype), Kind(("percent",)))

    return {"first": counts(found.count), "settled": counts(found.settled_count)}


KEEP = Keep("coordinates", _measure, help="how many coordinates reach 50, 90 and 99 % of the value")
