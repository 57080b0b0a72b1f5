"""Statistics as named arrays with named axes: the one form for a store, an `xarray.Dataset` and a table."""

from collections.abc import Mapping, Sequence

import numpy as np

from landed_jax.nn.config import ModelConfig
from landed_jax.nn.stream_order import site_names
from landed_jax.results.axes import PERCENTILES, POSITION_CLASSES
from landed_jax.results.measures import COMPONENTS, MEASURES
from landed_jax.studies._statistic import Statistic

Labelled = tuple[tuple[str, ...], np.ndarray]
"""The names of an array's axes, and the array."""


_OF_GROUPS = (
    "samples",
    "variance_within",
    "variance_between",
    "intraclass",
    "variation_within",
    "variation_between",
)


def statistic_arrays(statistics: Mapping[str, Statistic]) -> dict[str, Labelled]:
    """``attribution.heads.mean`` and the like, with the axes' names."""
    found: dict[str, Labelled] = {}
    for name, part in statistics.items():
        cells, moments = part.kind.cells, part.moments
        interval = part.interval()
        found |= {
            f"{name}.count": (cells, moments.count),
            f"{name}.mean": (cells, moments.mean),
            f"{name}.deviation": (cells, moments.deviation),
            f"{name}.variation": (cells, moments.variation),
            f"{name}.minimum": (cells, moments.minimum),
            f"{name}.maximum": (cells, moments.maximum),
            f"{name}.mean_low": (cells, interval.low),
            f"{name}.mean_high": (cells, interval.high),
        }
        if part.quantiles is not None:
            found[f"{name}.quantiles"] = ((*cells, "quantile"), part.quantile([p / 100 for p in PERCENTILES]))
        if (shares := part.share_above()) is not None:
            share, between = shares
            named = "_".join(f"{bound:g}" for bound in part.kind.above)
            for place, label in enumerate(("share", "share_low", "share_high")):
                values = (share, between.low, between.high)[place]
                found[f"{name}.{label}_above"] = ((*cells, f"above_{named}"), values)
        if part.largest is not None:
            rank = f"largest_{part.kind.top}"
            found[f"{name}.largest"] = ((*cells, rank), part.largest.values)
            found[f"{name}.largest_prompt"] = ((*cells, rank), part.largest.prompts)
            found[f"{name}.largest_place"] = ((*cells, rank), part.largest.places)
        if part.groups is not None:
            found |= {f"{name}.{label}": (cells, getattr(part.groups, label)) for label in _OF_GROUPS}
        if part.ranks is not None:
            others = tuple(axis for axis in cells if axis not in part.kind.ranked)
            found |= {
                f"{name}.rank_correlation": (others, part.ranks.mean),
                f"{name}.rank_prompts": (others, part.ranks.prompts),
                f"{name}.rank_constant": (others, part.ranks.constant),
            }
    return found


def coordinates_of(config: ModelConfig, arrays: Sequence[Labelled]) -> dict[str, Labelled]:
    """The labels along those axes that have names or numbers of their own."""
    used = {dim: size for dims, values in arrays for dim, size in zip(dims, values.shape, strict=True)}
    known = {
        "site": np.array(site_names(config)),
        "class": np.array(POSITION_CLASSES),
        "quantile": np.array(PERCENTILES),
        "percent": np.array((50, 90, 99)),
        "measure": np.array(MEASURES),
        "component": np.array(COMPONENTS),
    }
    found: dict[str, Labelled] = {
        dim: ((dim,), labels) for dim, labels in known.items() if used.get(dim) == len(labels)
    }
    for dim in used:
        if dim.startswith("above_"):
            found[dim] = ((dim,), np.array([float(bound) for bound in dim.split("_")[1:]]))
    return found
