"""What norms do: amplification, the stream's growth, how landed writes close."""

import numpy as np

from landed_jax.analysis.landing._closure import ClosureError
from landed_jax.analysis.landing._landing_matrix import Landing, LandingMatrix, Landings
from landed_jax.analysis.scale._amplification import Amplification
from landed_jax.analysis.scale._amplification_statistics import AmplificationStatistics
from landed_jax.analysis.scale._growth import ResidualGrowth
from landed_jax.analysis.scale._position_classes import PositionClasses
from landed_jax.analysis.scale._spread import Spread
from landed_jax.analysis.writes._write import describe
from landed_jax.errors import LandedError
from landed_jax.nn.stream_order import StreamOrder
from landed_jax.plots._chosen import Chosen, of_prompts, plain
from landed_jax.plots._drawing import Drawing
from landed_jax.plots._panels import Bars, Heat, Lines, Panel, Places, Series
from landed_jax.plots._registry import draws
from landed_jax.plots.kinds.attribution import check_choice, write_map
from landed_jax.results.axes import PERCENTILES, POSITION_CLASSES

_SITE = "read site, in the order of the stream"
_MEDIAN = PERCENTILES.index(50)
_QUARTILES = PERCENTILES.index(25), PERCENTILES.index(75)


@draws(Amplification)
def amplification(found: Amplification, *, prompt: int | None = None, position: int | None = None) -> Drawing:
    """The median over coordinates at every read site, and the whole range."""
    chosen = Chosen.of(found, prompt, position)
    median, low, high = (chosen.cell(part) for part in (found.median, found.minimum, found.maximum))
    series = [Series("median over coordinates", median, low, high)]
    sites = Places(_SITE, StreamOrder.of(found.config).sites)
    panel = Lines("Amplification by read site: median and range", sites, series, "|γ|/σ", logarithmic="y")
    return Drawing([panel], chosen.caption(found, f"{found.config.d_model:,} coordinates at {len(median)} sites."))


@draws(ResidualGrowth)
def residual_growth(found: ResidualGrowth, *, prompt: int | None = None, position: int | None = None) -> Drawing:
    """The stream's size at every site, and each write's size against it."""
    chosen = Chosen.of(found, prompt, position)
    sites, writes = Places(_SITE, found.sites), Places("write", [name.removesuffix("_write") for name in found.writes])
    parts = [Series("along the stream", chosen.cell(found.along)), Series("across it", chosen.cell(found.across))]
    ratio = [Series("ratio", chosen.cell(found.ratio))]
    panels: list[Panel] = [
        Lines(
            "The stream's size", sites, [Series("rms", chosen.cell(found.rms))], "rms of the stream", logarithmic="y"
        ),
        Lines("Each write along and across the stream", writes, parts, "rms of the write's part"),
        Lines("What each write makes of the size", writes, ratio, "rms after ÷ before", marks=[("unchanged", 1.0)]),
    ]
    return Drawing(panels, chosen.caption(found, f"{found.config.n_layers} layers."))


@draws(ClosureError)
def closure(found: ClosureError, *, prompt: int | None = None, position: int | None = None) -> Drawing:
    """How far the landed writes are from their sum, at every site."""
    chosen = Chosen.of(found, prompt, position)
    sites = Places(_SITE, StreamOrder.of(found.config).sites)
    error = chosen.cell(found.error)
    panel = Lines("Closure of the landed writes", sites, [Series("error", error)], "relative error", logarithmic="y")
    return Drawing([panel], chosen.caption(found, f"{len(error)} sites."))


@draws(LandingMatrix)
def landing_matrix(found: LandingMatrix, *, prompt: int | None = None, position: int | None = None) -> Drawing:
    """How long every head's write is at every site after it; and what whole writes say along the vector."""
    chosen = Chosen.of(found, prompt, position)
    config, sites = found.config, Places("read site", found.sites)
    norms = chosen.cell(found.norm.heads, 1)  # [site, layer, head]
    seen = np.where(np.asarray(found.after_attn)[..., None], norms, np.nan).reshape(len(norms), -1)
    names = [f"{layer}.{head}" for layer in range(config.n_layers) for head in range(config.n_heads)]
    quantity = "length of the landed write, ‖w ⊙ γ/σ‖"
    panels: list[Panel] = [
        Heat(
            "Each head at every later read site",
            sites,
            Places("head", names, range(0, len(names), config.n_heads)),
            seen,
            quantity,
            signed=False,
            logarithmic=True,
        )
    ]
    if found.projection is not None:
        quantity = "projection (units of the value)"
        panels.append(write_map("Whole writes along the vector", found.projection, chosen, quantity))
    return Drawing(panels, chosen.caption(found, f"{len(names):,} heads at {len(norms)} sites."))


@draws(Landings)
def landings(found: Landings) -> Drawing:
    """One write's length, and projection, at every site after it."""
    series = [Series("length ‖w ⊙ γ/σ‖", plain(found.norm))]
    if found.projection is not None:
        series.append(Series("projection", plain(found.projection)))
    panel = Lines(
        f"{describe(found.write)} as every later norm hears it", Places(_SITE, found.sites), series, "landed size"
    )
    chosen = Chosen.of(found, found.write.batch, found.write.position)
    return Drawing([panel], chosen.caption(found, f"{len(found.sites)} sites."))


@draws(Landing)
def landing(found: Landing) -> Drawing:
    """One write at one site: one or two numbers."""
    numbers = {"length ‖w ⊙ γ/σ‖": found.norm} | ({} if found.projection is None else {"projection": found.projection})
    values = np.array([float(plain(value)) for value in numbers.values()])
    panel = Bars(
        f"One write at {found.site}", Places("number", list(numbers)), [Series("landed size", values)], "landed size"
    )
    return Drawing([panel], of_prompts(found, 1, "write"))


@draws(PositionClasses)
def position_classes(found: PositionClasses, *, prompt: int | None = None) -> Drawing:
    """Which token is of which class."""
    chosen = Chosen.of(found, prompt)
    members = chosen.row(found.members)[:, chosen.real]
    panel = Heat(
        "Classes of positions",
        Places("class", POSITION_CLASSES),
        Places("position and token", chosen.recorded),
        members,
        "1: of the class",
        signed=False,
    )
    return Drawing([panel], chosen.caption(found, at_position=False))


@draws(AmplificationStatistics)
def amplification_statistics(found: AmplificationStatistics, *, definition: str | None = None) -> Drawing:
    """The quartiles at every site, for each class of positions; by one definition or all three.

    Args:
        definition: ``"per_coordinate"``, ``"write_weighted"`` or ``"norm_ratio"``.
    """
    names = ("per_coordinate", "write_weighted", "norm_ratio")
    if definition is not None:
        check_choice("definition", definition, names)
    wanted = names if definition is None else (definition,)
    parts = {name: getattr(found, name) for name in wanted}
    panels = [_spread(part, name.replace("_", " ")) for name, part in parts.items() if part is not None]
    return Drawing(panels, _pooled(found))


@draws(Spread)
def spread(found: Spread, *, quantile: int = 50) -> Drawing:
    """The quartiles of each class of positions; by coordinate the median of all sites and coordinates.

    Args:
        quantile: in per cent, one of those that are kept; of a spread by coordinate.
    """
    if plain(found.minimum).ndim < 3:
        return Drawing([_spread(found, "all samples")], _pooled(found))
    if quantile not in PERCENTILES:
        raise LandedError(f"quantile={quantile!r} is none of {', '.join(map(str, PERCENTILES))}.")
    values = plain(found.quantiles)[..., PERCENTILES.index(quantile)]
    counts = plain(found.count)
    rows = Places("read site", StreamOrder.of(found.config).sites)
    columns = Places.counted("coordinate", values.shape[2])
    panels = [
        Heat(f"Positions: {name}", rows, columns, values[:, place], f"|γ|/σ, {quantile}th percentile", signed=False)
        for place, name in enumerate(POSITION_CLASSES)
        if counts[:, place].any()
    ]
    return Drawing(panels, _pooled(found))


def _spread(found: Spread, title: str) -> Lines:
    """Medians and quartiles: over sites (or layers), a line for each class; without sites over the classes."""
    quantiles, counts = plain(found.quantiles), plain(found.count)
    low, middle, high = (
        np.where(counts > 0, quantiles[..., p], np.nan) for p in (_QUARTILES[0], _MEDIAN, _QUARTILES[1])
    )
    title = f"Amplification, {title}: median and quartiles"
    if middle.ndim < 2:
        names = POSITION_CLASSES if middle.ndim else ("all",)
        series = [Series("median", *map(np.atleast_1d, (middle, low, high)))]
        return Lines(title, Places("class of positions", names), series, "amplification", logarithmic="y")
    series = [
        Series(name, middle[:, place], low[:, place], high[:, place])
        for place, name in enumerate(POSITION_CLASSES)
        if counts[:, place].any()
    ]
    of_layers = len(middle) == found.config.n_layers
    x = Places.counted("layer", len(middle)) if of_layers else Places(_SITE, StreamOrder.of(found.config).sites)
    return Lines(title, x, series, "amplification", logarithmic="y")


def _pooled(found: AmplificationStatistics | Spread) -> list:
    known = found.known
    batch, positions = np.shape(known.tokens.ids)[0], int(np.sum(np.asarray(known.real)))
    return of_prompts(found, batch, "prompt", f"{positions:,} positions.")
