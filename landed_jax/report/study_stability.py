"""How constant a study's numbers are from prompt to prompt, as tables: each norm's 1/σ, and signs of contributions."""

from typing import Any

import numpy as np

from landed_jax.nn.stream_order import site_names
from landed_jax.report.numbers import significant
from landed_jax.report.scale import RAW
from landed_jax.results.axes import POSITION_CLASSES
from landed_jax.studies import Study
from landed_jax.studies._statistic import Statistic
from landed_jax.tables.table import Block, Column, Table

_EACH = 6  # of the most stable signs, and of the least
_SIGNED = tuple(f"{keep}.{part}" for keep in ("attribution", "effects") for part in ("heads", "neurons"))
_MOSTLY = 0.95
_LEGENDS = {
    "between": "within, between: coefficient of variation of 1/σ within a prompt, and of the prompts' levels, what "
    "positions within vary by taken off. Every coordinate's |γ|/σ has the same.",
    "share": "share: the part of the variance that is between prompts; below 0 where a prompt's positions differ more "
    "than positions of different prompts.",
    "means": "means: coefficient of variation of the prompts' means, nothing taken off.",
    "heard": "heard share: the same as share, of the stream as it is heard; the median over coordinates.",
    "rank": "rank corr.: of the coordinates by their size as heard, between two prompts; mean over all pairs.",
}


def stability_blocks(study: Study) -> list[Block]:
    """A table of the norms, where they are kept, and of signs for each set of heads and of neurons."""
    blocks: list[Block] = []
    if "stability.inverse_sigma" in study.statistics:
        blocks.append(_norms_table(study))
    for name in _SIGNED:
        part = study.statistics.get(name)
        if part is not None and part.moments.count.any():
            blocks.append(_signs_table(name, part))
    return blocks


def _norms_table(study: Study) -> Table:
    inverse, landed, profile = (
        study.statistics[f"stability.{name}"] for name in ("inverse_sigma", "landed", "profile")
    )
    # The keep declares 1/σ nested and ranked, what is heard nested, and its size ranked.
    assert inverse.groups is not None and inverse.ranks is not None
    assert landed.groups is not None and profile.ranks is not None
    scales, notes, rows = inverse.groups, [], []
    for place, named in enumerate(POSITION_CLASSES):
        if not scales.samples[0, place]:
            continue
        counted = f"{named}: {scales.samples[0, place]:,} positions of {scales.prompts[0, place]:,} prompts"
        order = _number(inverse.ranks.mean[place])
        notes.append(f"{counted}; rank correlation of the read sites by 1/σ {order}." if order else f"{counted}.")
        for site, name in enumerate(site_names(study.config)):
            cell = site, place
            own = (scales.variation_within, scales.variation_between, scales.intraclass, inverse.moments.variation)
            normed = study.config.has_norm(name)
            rows.append(
                [
                    named,
                    name,
                    f"{scales.mean[cell]:#.4g}" if normed else RAW,
                    *(_percent(numbers[cell]) if normed else "" for numbers in own),
                    _percent(_median(landed.groups.intraclass[cell])),
                    _number(profile.ranks.mean[cell]),
                ]
            )
    columns = [
        Column("class", left=True),
        Column("read\nsite", left=True),
        Column("1/σ\nmean"),
        Column("within\n%"),
        Column("between\n%", legend=_LEGENDS["between"]),
        Column("share\n%", drop=1, legend=_LEGENDS["share"]),
        Column("means\n%", drop=3, legend=_LEGENDS["means"]),
        Column("heard\nshare %", drop=2, legend=_LEGENDS["heard"]),
        Column("rank\ncorr.", legend=_LEGENDS["rank"]),
    ]
    return Table("Stability of the norms", columns, rows, keys=2, notes=notes, elsewhere="--json and the store")


def _signs_table(name: str, part: Statistic) -> Table:
    """The components whose sign is the most constant, and the least; of equal ones those with the larger mean."""
    moments, shares = part.moments, part.share_above()
    assert shares is not None  # both keeps count the samples above 0
    share, low, high = (values[..., 0] for values in (shares[0], *shares[1]))
    one_sign = np.maximum(share, 1 - share)
    written = (moments.count > 0) & ((moments.minimum != 0) | (moments.maximum != 0))
    cells = [tuple(cell) for cell in np.argwhere(written)]
    by_sign = sorted(cells, key=lambda cell: (-one_sign[cell], -abs(moments.mean[cell])))
    least = sorted(by_sign[_EACH:], key=lambda cell: (one_sign[cell], -abs(moments.mean[cell])))[:_EACH]
    shown = [*by_sign[:_EACH], *reversed(least)]
    rows = [
        [
            " ".join(map(str, cell)),
            _percent(share[cell]),
            f"{_percent(low[cell])} to {_percent(high[cell])}",
            f"{moments.mean[cell]:+.4g}",
            "" if np.isnan(moments.variation[cell]) else significant(100 * float(moments.variation[cell])),
        ]
        for cell in shown
    ]
    columns = [
        Column(" ".join(part.kind.cells), left=True),
        Column("positive %"),
        Column("95 %"),
        Column("mean"),
        Column("variation %", drop=1, legend="variation: deviation over the size of the mean."),
    ]
    mostly = np.maximum(low, 1 - high)[written] >= _MOSTLY
    notes = [f"{mostly.sum():,} of {written.sum():,} surely have one sign in {_MOSTLY:.0%} of prompts or more."]
    if part.ranks is not None and (order := _number(part.ranks.mean)):
        notes.append(f"Rank correlation between two prompts, mean over all pairs: {order}.")
    title = f"{name} by sign"
    if len(cells) > len(shown):
        title += f": the {_EACH} most constant and the {len(least)} least, of {len(cells):,}"
    return Table(title, columns, rows, notes=notes, elsewhere="--json and the store")


def _median(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else float("nan")


def _percent(share: Any) -> str:
    return "" if np.isnan(share) else f"{100 * share:.1f}"


def _number(value: Any) -> str:
    return "" if np.isnan(value) else f"{value:.3f}"
