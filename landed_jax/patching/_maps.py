"""Patching as heat maps: layers by positions for each hook point, or layers by heads."""

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from landed_jax.errors import LandedError
from landed_jax.errors import shown as show
from landed_jax.nn.hook_points import HookPoint
from landed_jax.patching._patching import Patching
from landed_jax.vocabulary import NumberedTokens

if TYPE_CHECKING:  # what shows a map needs them
    from landed_jax.tables.flow import Item
    from landed_jax.tables.table import Block, HeatMap

Shown = Literal["fraction", "effect"]

_NAMES = {
    HookPoint.ATTN_WRITE: "attention's write",
    HookPoint.MLP_WRITE: "the MLP's write",
    HookPoint.ATTN_RESIDUAL: "the residual stream before the layer",
}


class HeatMaps:
    """Heat maps of one pair of prompts, which show themselves as text or HTML."""

    def __init__(self, maps: "Sequence[HeatMap]", notes: "Sequence[Sequence[Item]]" = ()) -> None:
        self.maps, self.notes = tuple(maps), tuple(notes)

    def blocks(self) -> "list[Block]":
        """The maps, and what their shades mean."""
        from landed_jax.tables.heat_map import legend

        *others, last = self.maps
        return [*others, dataclasses.replace(last, notes=[legend(), *self.notes])]

    def _repr_html_(self) -> str:
        from landed_jax.tables.html import html_of

        return html_of(self.blocks())

    def __repr__(self) -> str:
        from landed_jax.tables.draw import text_of
        from landed_jax.tables.screen import standard_output

        return text_of(self.blocks(), standard_output())


def heat_maps(
    found: Patching, shown: Shown | None = None, *, pair: int = 0, at: int = 0, measure: str = "measure"
) -> HeatMaps:
    """Layers by positions, a map for each hook point, or layers by heads; the shades of all are of one scale.

    Positions before the first token that differs are left out: a patch there changes nothing.

    Args:
        shown: ``"fraction"`` of the gap between the prompts, recovered or (in noising) lost; or the ``"effect"``. By
            default the fraction where it is defined.
        pair: of a batch.
        at: which of the measured columns.
        measure: its name, for the titles.

    Raises:
        LandedError: for patched neurons, which have no layers along an axis, and a pair, a measured column or a
            quantity that there is not.

    >>> from landed_jax import load
    >>> from landed_jax.patching import activation_patching
    >>> prompts = "The Colosseum is in the city of", "The Louvre is in the city of"
    >>> heat_maps(activation_patching(load(), *prompts, sites=["mlp_write"]))
    Fraction recovered, in %: the MLP's write replaced
    layer         2         3         4         5         6         7
          Colosseum        is        in       the      city        of
    0         ███99         .         .         .         .         .
    1         ░░░ 6         .         .         .         .         1
    2             .         .         .         .         .     ░░░17
    3             .         .         .         .         .     ▓▓▓50
    ░▒▓█ from 5, 25, 50, 75% of the largest number here; -=≡# negative; . below
    Clean and corrupted tokens that differ: 2 ' Colosseum' and ' Louvre'
    """
    labels = dict(found.labels)
    if "layer" not in labels:
        raise LandedError("Neurons have no heat map: to_pandas() has their numbers.")
    found.known.check_prompt(pair)
    measured = found.at.shape[-1]
    if isinstance(at, bool) or not isinstance(at, int | np.integer) or not 0 <= at < measured:
        raise LandedError(
            f"at={show(at)} is none of the measured columns: there are {measured}, and at= counts them from 0."
        )
    if shown not in (None, *get_args(Shown)):
        raise LandedError(f'A heat map shows the "fraction" or the "effect", not {show(shown)}.')
    if shown is None:
        shown = "fraction" if bool(found.defined[pair, at]) else "effect"
    numbers = np.asarray(getattr(found, shown), np.float64)[..., pair, at]
    if "column" in labels:
        chosen, columns = _columns(found, pair, labels["column"])
        names, numbers = list(map(name_of, labels["hook_point"])), numbers[..., chosen]
    else:
        columns, names, numbers = [(str(head), "") for head in labels["head"]], ["a head's output"], numbers[None]
    rows = tuple(map(str, labels["layer"]))
    darkest = float(np.max(np.abs(numbers), initial=0.0, where=np.isfinite(numbers)))
    unit = 0.01 if shown == "fraction" else _unit(darkest)
    title = f"{_quantity(found, shown, unit, measure)}: {{}} replaced"
    maps = [
        _map(title.format(name), rows, columns, values, darkest, unit)
        for name, values in zip(names, numbers, strict=True)
    ]
    return HeatMaps(maps, differences(found, pair) if "column" in labels else [])


def name_of(point: str) -> str:
    """A hook point's value in words."""
    return _NAMES.get(HookPoint(point), point)


def differences(found: Patching, pair: int) -> "list[list[Item]]":
    """The tokens in which the two prompts of a pair differ, as a note."""
    from landed_jax.tables.quoted import Quoted

    texts = (found.vocabulary or NumberedTokens()).text
    clean, corrupted = (np.asarray(tokens.ids)[pair].tolist() for tokens in (found.tokens, found.corrupted_tokens))
    differ = [place for place in range(len(clean)) if clean[place] != corrupted[place]]
    items: list[Item] = ["Clean and corrupted tokens that differ:"]
    for number, place in enumerate(differ):
        after = "," if number < len(differ) - 1 else ""
        items += [Quoted(texts(clean[place]), f"{place} "), "and", Quoted(texts(corrupted[place]), after=after)]
    return [items]


def _columns(found: Patching, pair: int, labels: Sequence[int]) -> tuple[list[int], list[tuple[str, str]]]:
    """From the first column in which the pair's tokens differ to the last measured: their places, names and tokens."""
    texts = (found.vocabulary or NumberedTokens()).text
    ids, other = (np.asarray(tokens.ids)[pair] for tokens in (found.tokens, found.corrupted_tokens))
    first, last = int(np.flatnonzero(ids != other)[0]), int(np.max(found.at))
    chosen = [place for place, column in enumerate(labels) if first <= column <= last]
    return chosen, [(str(labels[place]), texts(int(ids[labels[place]]))) for place in chosen]


def _quantity(found: Patching, shown: str, unit: float, measure: str) -> str:
    if shown == "effect":
        return f"Change of the {measure}" + (f", in units of {unit:g}" if unit != 1 else "")
    return f"Fraction {'recovered' if found.direction == 'denoise' else 'lost'}, in %"


def _unit(darkest: float) -> float:
    """A power of ten of which the largest number has two or three digits."""
    return 10.0 ** (math.floor(math.log10(darkest)) - 1) if darkest > 0 else 1.0


def _map(
    title: str,
    rows: Sequence[str],
    columns: Sequence[tuple[str, str]],
    values: np.ndarray,
    darkest: float,
    unit: float,
) -> "HeatMap":
    from landed_jax.tables.heat_map import HeatMap

    return HeatMap(title, "layer", rows, columns, values.tolist(), darkest, unit)
