"""A value as a sum over writes: the largest, layer by layer, or all heads."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from landed_jax.analysis.attribution._capped_effects import CappedEffects
from landed_jax.analysis.attribution._log_probability import LogProbability
from landed_jax.analysis.attribution._result import Attribution, experts_at, flat_writes, write_at
from landed_jax.analysis.attribution._shares import Shares
from landed_jax.analysis.attribution._volume import SigmaShares, Volume
from landed_jax.analysis.reduce._reductions import LayerSums
from landed_jax.analysis.reduce._top_writes import TopWrites
from landed_jax.analysis.scale._write_amplification import WriteAmplification
from landed_jax.analysis.streaming._attribute_streaming import StreamedAttribution
from landed_jax.analysis.writes._write import Write, describe
from landed_jax.errors import LandedError, shown
from landed_jax.nn.per_write import PerWrite
from landed_jax.nn.stream_order import StreamOrder
from landed_jax.plots._chosen import Chosen, about, of_prompts, plain
from landed_jax.plots._drawing import Drawing
from landed_jax.plots._panels import Bars, Heat, Lines, Panel, Places, Series, Waterfall
from landed_jax.plots._registry import draws, figures
from landed_jax.tables.flow import Item

SHOWS = ("writes", "layers", "heads")
LANDED, EFFECT, SHARE = "landed contribution (σ held)", "direct effect (σ recomputed)", "share of σ²"


@draws(Attribution)
def attribution(
    found: Attribution,
    *,
    prompt: int | None = None,
    position: int | None = None,
    show: str = "writes",
    top: int | None = None,
    effect: bool = False,
) -> Drawing:
    """The largest writes with both their numbers; or the sum layer by layer; or every head.

    Args:
        show: ``"writes"``, ``"layers"`` or ``"heads"``.
        top: how many writes, by default 15.
        effect: of heads, the direct effect in place of the landed contribution.
    """
    chosen = Chosen.of(found, prompt, position)
    what = about(found.known, found.target, found.against, chosen, found.site)
    unit = "logits" if found.target is not None else "units of the value"
    closure = f"closure error {float(chosen.cell(found.closure_error)):.1e}"
    end = f"At {found.site}; value {float(chosen.cell(found.value)):.4g} {unit}, {closure}."
    return _of_value(found, chosen, what, unit, end, show, top, effect, float(chosen.cell(found.offset)))


@draws(LogProbability)
def log_probability(
    found: LogProbability,
    *,
    prompt: int | None = None,
    position: int | None = None,
    show: str = "writes",
    top: int | None = None,
    effect: bool = False,
) -> Drawing:
    """As of an attribution, in nats; layer by layer the landed contributions, which sum to the gradient's value."""
    chosen = Chosen.of(found, prompt, position)
    what: list[Item] = ["the log-probability of", *about(found.known, found.target, None, chosen)]
    end = f"Log-probability {float(chosen.cell(found.value)):.4g} nats."
    return _of_value(found, chosen, what, "nats", end, show, top, effect, 0.0)


def _of_value(
    found: Attribution | LogProbability,
    chosen: Chosen,
    what: Sequence[Item],
    unit: str,
    end: str,
    show: str,
    top: int | None,
    effect: bool,
    offset: float,
) -> Drawing:
    check_choice("show", show, SHOWS)
    if effect and show != "heads":
        raise LandedError(f'effect=True goes with show="heads": a figure of show="{show}" has no choice of it.')
    if top is not None and show != "writes":
        raise LandedError(f'top= goes with show="writes": a figure of show="{show}" has all {show}.')
    if effect and found.direct_effect is None:
        raise LandedError("This attribution has no direct effects: make it with effects=True.")
    config = found.config
    count: list[Item] = [
        f"{config.n_layers * config.n_heads:,} heads, {config.n_layers * config.n_neurons:,} neurons.",
        end,
    ]
    if show == "writes":
        parts = {LANDED: found.landed, EFFECT: found.direct_effect}
        experts = found.experts if isinstance(found, Attribution) else None
        panel: Panel = largest_writes(
            ["The largest writes to", *what], parts, chosen, experts, top or 15, f"contribution ({unit})"
        )
    elif show == "heads":
        name, part = (EFFECT, found.direct_effect) if effect else (LANDED, found.landed)
        assert part is not None
        panel = head_map(["The heads' contributions to", *what], chosen.cell(part.heads, 1), f"{name}, {unit}")
    else:
        landed = found.landed
        before = {name.replace("_", " "): chosen.cell(value) for name, value in landed.embeddings.items()}
        panel = layer_waterfall(
            ["Landed contributions to", *what],
            before,
            chosen.cell(landed.attn),
            chosen.cell(landed.mlp),
            offset,
            chosen.cell(found.value if isinstance(found, Attribution) else found.gradient_value),
            unit,
        )
    return Drawing([panel], chosen.caption(found, *count))


@draws(StreamedAttribution)
def streamed(
    found: StreamedAttribution, *, prompt: int | None = None, position: int | None = None, top: int = 15
) -> Drawing:
    """The sum layer by layer, and what the reduction kept where that has a figure of its own."""
    chosen = Chosen.of(found, prompt, position)
    what = about(found.known, found.target, found.against, chosen)
    unit = "logits" if found.target is not None else "units of the value"
    before = {"embedding": chosen.cell(found.embedding)}
    if found.position_embedding is not None:
        before["position embedding"] = chosen.cell(found.position_embedding)
    panels: list[Panel] = [
        layer_waterfall(
            ["Landed contributions to", *what],
            before,
            chosen.cell(found.attn),
            chosen.cell(found.mlp),
            float(chosen.cell(found.offset)),
            chosen.cell(found.value),
            unit,
        )
    ]
    draw = figures().get(type(found.reduced))
    if draw is not None:
        options: dict[str, Any] = {"top": top} if isinstance(found.reduced, TopWrites | Shares) else {}
        if not isinstance(found.reduced, TopWrites) and "prompt" in (draw.__kwdefaults__ or {}):
            options |= {"prompt": prompt, "position": position}
        panels += draw(found.reduced, **options).panels
    closure = f"{found.config.n_layers} layers; closure error {float(chosen.cell(found.closure_error)):.1e}."
    return Drawing(panels, chosen.caption(found, closure))


@draws(Shares)
def shares(found: Shares, *, prompt: int | None = None, position: int | None = None, top: int = 15) -> Drawing:
    """The largest writes."""
    chosen = Chosen.of(found, prompt, position)
    parts = {LANDED: found.landed, EFFECT: found.direct_effect}
    panel = largest_writes("The largest writes", parts, chosen, None, top, "contribution (units of the value)")
    return Drawing([panel], chosen.caption(found, f"{found.config.n_layers} layers."))


@draws(CappedEffects)
def capped(found: CappedEffects, *, prompt: int | None = None, position: int | None = None, top: int = 15) -> Drawing:
    """The writes with the largest effects on the capped logit."""
    chosen = Chosen.of(found, prompt, position)
    panel = largest_writes(
        "The largest effects after the cap", {EFFECT: found.effect}, chosen, None, top, "direct effect (logits)"
    )
    return Drawing([panel], chosen.caption(found, f"Capped value {float(chosen.cell(found.value)):.4g} logits."))


@draws(Volume)
def volume(found: Volume, *, prompt: int | None = None, position: int | None = None, top: int = 15) -> Drawing:
    """The heads and neurons that act by scale, with what they say themselves beside it."""
    chosen = Chosen.of(found, prompt, position)
    rows = found.top(top, position=chosen.column, batch=chosen.prompt)
    names = ("score", "mediated", "landed")
    titles = ("score", "through σ (mediated)", "landed contribution")
    series = [
        Series(title, np.array([getattr(row, name) for row in rows])) for name, title in zip(names, titles, strict=True)
    ]
    places = Places("head or neuron", [describe(row) for row in rows])
    panel = Bars("Writes that act by scale", places, series, "units of the value")
    return Drawing([panel], chosen.caption(found, f"{len(rows)} of all heads and neurons."))


@draws(SigmaShares)
def sigma_shares(found: SigmaShares, *, prompt: int | None = None, position: int | None = None) -> Drawing:
    """Which layers' attention and MLP make up σ², at each site that reads them."""
    chosen = Chosen.of(found, prompt, position)
    return Drawing([write_map("Shares of σ²", found.shares, chosen, "share of σ²")], chosen.caption(found))


def write_map(title: str, part: PerWrite, chosen: Chosen, quantity: str) -> Panel:
    """Whole writes by read sites; of one site as bars."""
    order = StreamOrder.of(chosen.known.config)
    before = {name.replace("_", " "): chosen.cell(value) for name, value in part.embeddings.items()}
    attn, mlp = chosen.cell(part.attn), chosen.cell(part.mlp)
    layers = np.stack([attn, mlp], axis=-1).reshape(*attn.shape[:-1], -1)
    values = np.concatenate([np.stack(list(before.values()), axis=-1), layers], axis=-1)
    names = [*before, *(write.removesuffix("_write") for write in order.writes)]
    if values.ndim == 1:
        return Bars(title, Places("write", names), [Series(quantity, values)], quantity)
    heard = np.arange(values.shape[-1])[None] < order.writes_before[:, None] + len(before)
    return Heat(
        title, Places("read site", order.sites), Places("write", names), np.where(heard, values, np.nan), quantity
    )


@draws(TopWrites)
def top_writes(found: TopWrites, *, top: int = 15) -> Drawing:
    """The largest writes over all positions; of those kept at each position, the largest of all."""
    kept = np.argwhere(np.asarray(found.there))
    landed = plain(found.landed)[tuple(kept.T)]
    first = kept[np.argsort(-np.abs(landed), kind="stable")[:top]]
    places = [tuple(place) for place in first.tolist()]

    def name(place: tuple[int, ...]) -> str:
        numbers = {key: int(np.asarray(getattr(found, key))[place]) for key in ("layer", "index", "batch", "position")}
        neuron = bool(np.asarray(found.is_neuron)[place])
        expert = None if found.expert is None or not neuron else int(np.asarray(found.expert)[place])
        write = Write("neuron" if neuron else "head", **numbers, expert=expert)
        return f"{describe(write)} @{write.batch}:{write.position}"

    series = [
        Series(title, np.array([plain(part)[place] for place in places]))
        for title, part in ((LANDED, found.landed), (EFFECT, found.direct_effect))
        if part is not None
    ]
    panel = Bars(
        "The largest writes",
        Places("write @prompt:position", list(map(name, places))),
        series,
        "contribution (units of the value)",
    )
    count = f"{len(places)} of {len(kept)} kept writes."
    return Drawing([panel], of_prompts(found, _prompts(found), "prompt", count))


def _prompts(found: Any) -> int:
    return 1 if found.provenance is None else np.shape(found.known.tokens.ids)[0]


@draws(LayerSums)
def layer_sums(found: LayerSums, *, prompt: int | None = None, position: int | None = None) -> Drawing:
    """Every head, and each layer's neurons: net, and the sum of their sizes."""
    chosen = Chosen.of(found, prompt, position)
    heads = head_map("Heads", chosen.cell(found.heads, 1), f"{LANDED}, units of the value")
    series = [Series("net", chosen.cell(found.mlp_net)), Series("gross", chosen.cell(found.mlp_gross))]
    layers = Places.counted("layer", len(series[0].values))
    neurons = Lines("Neurons in sum", layers, series, "landed contribution (units of the value)")
    return Drawing([heads, neurons], chosen.caption(found, f"{len(layers.names)} layers."))


@draws(WriteAmplification)
def write_amplification(
    found: WriteAmplification, *, prompt: int | None = None, position: int | None = None
) -> Drawing:
    """How much every head, and each layer's neurons, are magnified at their next landing."""
    chosen = Chosen.of(found, prompt, position)
    heads = chosen.cell(found.by_write.heads, 1)
    neurons = chosen.cell(found.by_write.neurons, 1)
    middle, low, high = np.quantile(neurons, [0.5, 0.25, 0.75], axis=-1)
    layers = Places.counted("layer", len(heads))
    panels = [
        Heat("Heads", layers, Places.counted("head", heads.shape[1]), heads, "amplification", signed=False),
        Lines(
            "Neurons: median and quartiles",
            layers,
            [Series("median", middle, low, high)],
            "amplification",
            logarithmic="y",
        ),
    ]
    return Drawing(panels, chosen.caption(found, f"Definition: {found.definition.replace('_', ' ')}."))


def largest_writes(
    title: str | Sequence[Item],
    parts: Mapping[str, PerWrite | None],
    chosen: Chosen,
    experts: Any,
    top: int,
    quantity: str,
) -> Bars:
    """The writes that are largest by the first part, with their numbers in all parts."""
    b, p = chosen.prompt, chosen.place
    there = {name: part for name, part in parts.items() if part is not None}
    flat = {name: plain(flat_writes(part, b, p)) for name, part in there.items()}
    order = np.argsort(-np.abs(next(iter(flat.values()))), kind="stable")[: max(top, 1)]
    config, chose = chosen.known.config, experts_at(experts, b, p)
    # Of the layers' writes alone the first one is no embedding.
    first = 0 if next(iter(there.values())).embeddings else 1 + config.learned_positions
    names = [describe(write_at(first + int(u), config, b, chosen.column, chose)) for u in order]
    series = [Series(name, values[order]) for name, values in flat.items()]
    return Bars(title, Places("write", names), series, quantity)


def head_map(title: str | Sequence[Item], heads: np.ndarray, quantity: str, signed: bool = True) -> Heat:
    """Layers by heads."""
    rows, columns = heads.shape
    return Heat(title, Places.counted("layer", rows), Places.counted("head", columns), heads, quantity, signed)


def layer_waterfall(
    title: str | Sequence[Item],
    before: Mapping[str, np.ndarray],
    attn: np.ndarray,
    mlp: np.ndarray,
    offset: float,
    value: np.ndarray,
    unit: str,
) -> Waterfall:
    """The embeddings, each layer's attention and MLP, what no write makes, and the value."""
    layers = [f"{layer}.{part}" for layer in range(len(attn)) for part in ("attn", "mlp")]
    kinds = ["embedding"] * len(before) + ["attention", "MLP"] * len(attn)
    values = [*map(float, before.values()), *np.stack([attn, mlp], axis=-1).ravel()]
    names = [*before, *layers]
    if offset:
        names, kinds, values = [*names, "offset"], [*kinds, "offset"], [*values, offset]
    places = Places("write, in the order of the stream", names)
    step = 1 if len(attn) <= 40 else 5
    ticks = [(names.index(f"{layer}.attn"), str(layer)) for layer in range(0, len(attn), step)]
    quantity = f"sum of landed contributions ({unit})"
    title_of_layers = "layer: its attention, then its MLP"
    return Waterfall(title, places, np.array(values), kinds, float(value), "value", quantity, ticks, title_of_layers)


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Refuse an option's value that there is not.

    Raises:
        LandedError: listing those that there are.
    """
    if value not in choices:
        raise LandedError(f"{name}={shown(value)} is none of {', '.join(choices)}.")
