"""What heads bring from which token."""

import numpy as np

from landed_jax.analysis.attribution._copying import Copying
from landed_jax.analysis.attribution._sources import SourceAttribution
from landed_jax.analysis.attribution._token_contributions import TokenContributions
from landed_jax.analysis.landing._source_moves import SourceMoves
from landed_jax.errors import LandedError, shown
from landed_jax.plots._chosen import Chosen
from landed_jax.plots._drawing import Drawing
from landed_jax.plots._panels import Heat, Places
from landed_jax.plots._registry import draws
from landed_jax.plots.kinds.attribution import check_choice, head_map

_SOURCE = "source position and token"


@draws(SourceAttribution)
def source_attribution(
    found: SourceAttribution, *, prompt: int | None = None, position: int | None = None, top: int = 15
) -> Drawing:
    """The heads with the largest parts, by the token that each part came from."""
    chosen = Chosen.of(found, prompt, position)
    parts = chosen.cell(found.landed, 2)[..., chosen.columns]  # [layer, head, source]
    panel = _largest_heads(
        "Landed contributions by source token", parts, chosen, top, "landed contribution (units of the value)", True
    )
    return Drawing([panel], chosen.caption(found, _counted(panel, parts)))


@draws(SourceMoves)
def source_moves(
    found: SourceMoves,
    *,
    prompt: int | None = None,
    position: int | None = None,
    top: int = 15,
    show: str = "final",
) -> Drawing:
    """The heads that move most to one position, by source token.

    Args:
        show: ``"final"`` or ``"next"``, the landed length at that norm; or ``"pattern"``, the attention weight.
    """
    check_choice("show", show, ("final", "next", "pattern"))
    chosen = Chosen.of(found, prompt, position)
    parts = chosen.cell(getattr(found, show), 2)[..., chosen.columns]
    quantity = "attention weight" if show == "pattern" else f"length at the {show} norm, ‖w ⊙ γ/σ‖"
    panel = _largest_heads("What heads move from each source token", parts, chosen, top, quantity, False)
    return Drawing([panel], chosen.caption(found, _counted(panel, parts)))


def _largest_heads(title: str, parts: np.ndarray, chosen: Chosen, top: int, quantity: str, signed: bool) -> Heat:
    """Heads, the one with the largest part first, by source tokens."""
    flat = parts.reshape(-1, parts.shape[-1])
    order = np.argsort(-np.max(np.abs(flat), axis=-1), kind="stable")[: max(top, 1)]
    names = [".head.".join(map(str, divmod(int(place), parts.shape[1]))) for place in order]
    return Heat(
        title, Places("head", names), Places(_SOURCE, chosen.tokens(chosen.columns)), flat[order], quantity, signed
    )


def _counted(panel: Heat, parts: np.ndarray) -> str:
    return f"The {len(panel.rows.names)} of {parts.shape[0] * parts.shape[1]:,} heads with the largest parts."


@draws(TokenContributions)
def token_contributions(found: TokenContributions, *, prompt: int | None = None, layer: int | None = None) -> Drawing:
    """Which token each position's value was brought from, by all layers' heads or one's.

    Args:
        layer: whose heads; by default all layers' in sum.
    """
    chosen = Chosen.of(found, prompt)
    count = found.config.n_layers
    if layer is not None and (isinstance(layer, bool) or not isinstance(layer, int) or not 0 <= layer < count):
        raise LandedError(f"layer={shown(layer)} is not there: layers run from 0 to {count - 1}.")
    parts = found.overall if layer is None else found.layers[layer]
    values = chosen.row(parts, 1)[chosen.real][:, chosen.columns]
    at = np.asarray(found.at)[chosen.real]
    values = np.where(at[:, None] >= chosen.columns[None], values, np.nan)
    title = "What all heads bring" if layer is None else f"What the heads of layer {layer} bring"
    rows, columns = Places("position and token", chosen.recorded), Places(_SOURCE, chosen.tokens(chosen.columns))
    panel = Heat(title, rows, columns, values, "landed contribution (units of the value)")
    return Drawing([panel], chosen.caption(found, f"{count} layers.", at_position=False))


@draws(Copying)
def copying(found: Copying, *, prompt: int | None = None) -> Drawing:
    """Every head's mean over the prompt's tokens: positive where it raises what it looks at."""
    chosen = Chosen.of(found, prompt)
    values = chosen.row(found.deviations, 1)[:, chosen.columns].mean(axis=1)
    panel = head_map("Copying: the token's own logit", values, "mean over tokens (standard deviations)")
    return Drawing([panel], chosen.caption(found, f"{values.size:,} heads.", at_position=False))
