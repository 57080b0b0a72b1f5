"""What the stream says at every read site."""

import numpy as np

from landed_jax.analysis.attribution._logit_lens import LensTokens, LogitLens
from landed_jax.errors import LandedError, shown
from landed_jax.nn.stream_order import StreamOrder
from landed_jax.plots._chosen import Chosen, vocabulary_of
from landed_jax.plots._drawing import Drawing
from landed_jax.plots._panels import Heat, Lines, Places, Series
from landed_jax.plots._registry import draws
from landed_jax.plots.kinds.attribution import check_choice
from landed_jax.tables.quoted import Quoted

_SITE = "read site, in the order of the stream"


@draws(LogitLens)
def logit_lens(found: LogitLens, *, prompt: int | None = None, position: int | None = None) -> Drawing:
    """Both variants over the sites."""
    chosen = Chosen.of(found, prompt, position)
    value = float(chosen.cell(found.value))
    series = [
        Series("each site's own σ", chosen.cell(found.own_sigma)),
        Series("the final norm's σ", chosen.cell(found.final_sigma)),
    ]
    panel = Lines(
        "The logit lens over read sites",
        Places(_SITE, found.sites),
        series,
        "logit (units of the value)",
        marks=[("value", value)],
    )
    return Drawing([panel], chosen.caption(found, f"{len(found.sites)} sites; value {value:.4g}."))


@draws(LensTokens)
def lens_tokens(found: LensTokens, *, prompt: int | None = None, rank: int = 0, variant: str = "own_sigma") -> Drawing:
    """The token that every site favours at every position, coloured by its logit.

    Args:
        rank: 0 for the most favoured, 1 for the next, ….
        variant: ``"own_sigma"`` or ``"final_sigma"``.
    """
    chosen = Chosen.of(found, prompt)
    check_choice("variant", variant, ("own_sigma", "final_sigma"))
    kept = np.shape(found.ids)[-1]
    if isinstance(rank, bool) or not isinstance(rank, int) or not 0 <= rank < kept:
        raise LandedError(f"rank={shown(rank)} was not kept: ranks run from 0 to {kept - 1}.")
    ids = chosen.row(found.ids, 1)[:, chosen.real, rank].astype(int)
    logits = chosen.row(getattr(found, variant), 1)[:, chosen.real, rank]
    text = vocabulary_of(found.known).text
    panel = Heat(
        "The most favoured token" if rank == 0 else f"The token of rank {rank}",
        Places("read site", StreamOrder.of(found.config).sites),
        Places("position and token", chosen.recorded),
        logits,
        f"its logit ({variant.replace('_', ' ').replace('sigma', 'σ')})",
        signed=False,
        texts=[[Quoted(text(token)) for token in row] for row in ids.tolist()],
    )
    return Drawing([panel], chosen.caption(found, f"{len(ids)} sites.", at_position=False))
