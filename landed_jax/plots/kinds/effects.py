"""What parts of a value do together: layers, groups, operations, and how well estimates agree with effects."""

from collections.abc import Mapping

import numpy as np

from landed_jax.analysis.attribution._confidence import ConfidenceEffects
from landed_jax.analysis.attribution._confidence_signature import ConfidenceSignature
from landed_jax.analysis.attribution._frozen_sigma_agreement import Agreement, FrozenSigmaAgreement
from landed_jax.analysis.attribution._groups import GroupEffect
from landed_jax.analysis.attribution._layer_effects import LayerEffects
from landed_jax.analysis.attribution._operations import Operations
from landed_jax.analysis.attribution._volume import WeakDirections
from landed_jax.analysis.reduce._reductions import Histogram
from landed_jax.errors import LandedError
from landed_jax.plots._chosen import Chosen, of_prompts, plain
from landed_jax.plots._drawing import Drawing
from landed_jax.plots._panels import Bars, Heat, Lines, Panel, Places, Scatter, Series
from landed_jax.plots._registry import draws
from landed_jax.plots.kinds.attribution import EFFECT, LANDED

_VALUE = "units of the value"


@draws(LayerEffects)
def layer_effects(found: LayerEffects, *, prompt: int | None = None, position: int | None = None) -> Drawing:
    """Each layer's attention, and each layer's MLP: landed and with σ recomputed."""
    chosen = Chosen.of(found, prompt, position)
    panels: list[Panel] = []
    for title, landed, effect in (
        ("Attention", found.attn_landed, found.attn_effect),
        ("MLPs", found.mlp_landed, found.mlp_effect),
    ):
        series = [Series(LANDED, chosen.cell(landed)), Series(EFFECT, chosen.cell(effect))]
        panels.append(Lines(title, Places.counted("layer", len(series[0].values)), series, f"contribution ({_VALUE})"))
    value = f"{found.config.n_layers} layers; value {float(chosen.cell(found.value)):.4g}."
    return Drawing(panels, chosen.caption(found, value))


@draws(GroupEffect)
def group_effect(found: GroupEffect, *, prompt: int | None = None) -> Drawing:
    """What the group does at every position: by its content, by way of σ, and in all."""
    chosen = Chosen.of(found, prompt)
    parts = {"effect": found.effect, LANDED: found.landed, "by way of σ": found.mediated, "value": found.value}
    series = [Series(name, chosen.row(part)[chosen.real]) for name, part in parts.items()]
    panel = Lines("The group removed", Places("position and token", chosen.recorded), series, _VALUE)
    return Drawing([panel], chosen.caption(found, at_position=False))


@draws(Operations)
def operations(found: Operations, *, prompt: int | None = None, position: int | None = None) -> Drawing:
    """Each layer's writes, net and gross; and how many reach each part of the value."""
    chosen = Chosen.of(found, prompt, position)
    layers = Places.counted("layer", found.config.n_layers)
    panels: list[Panel] = []
    for title, net, gross in (
        ("Attention", found.attn_net, found.attn_gross),
        ("MLPs", found.mlp_net, found.mlp_gross),
    ):
        series = [Series("net: their sum", chosen.cell(net)), Series("gross: sum of sizes", chosen.cell(gross))]
        panels.append(Lines(title, layers, series, f"landed contributions ({_VALUE})"))
    fewest = [Series("fewest writes", chosen.cell(found.fewest))]
    parts = Places("part of the value", [f"{100 * part:g} %" for part in found.fractions])
    panels.append(Bars("The fewest writes that make a part of the value", parts, fewest, "number of writes"))
    counted = f"{found.config.n_layers} layers; effective number of writes {float(chosen.cell(found.writes)):.4g}."
    return Drawing(panels, chosen.caption(found, counted))


@draws(FrozenSigmaAgreement)
def frozen_sigma_agreement(found: FrozenSigmaAgreement, *, prompt: int | None = None) -> Drawing:
    """Error and correlation of landed contributions against direct effects."""
    return _agreements({name: getattr(found, name) for name in ("heads", "neurons", "together")}, found, prompt)


@draws(Agreement)
def agreement(found: Agreement, *, prompt: int | None = None) -> Drawing:
    """Error and correlation of the estimates."""
    return _agreements({"components": found}, found, prompt)


def _agreements(parts: Mapping[str, Agreement], found: FrozenSigmaAgreement | Agreement, prompt: int | None) -> Drawing:
    first = next(iter(parts.values()))
    titles = (("nmae", "Σ|error| / Σ|effect|"), ("correlation", "Pearson correlation"))
    if plain(first.nmae).ndim == 0:
        places = Places("components", list(parts))
        panels: list[Panel] = [
            Bars(
                title,
                places,
                [Series(title, np.array([float(plain(getattr(part, name))) for part in parts.values()]))],
                title,
            )
            for name, title in titles
        ]
        count = int(max(plain(part.count) for part in parts.values()))
        batch = np.shape(found.known.tokens.ids)[0]
        return Drawing(panels, of_prompts(found, batch, "prompt", f"{count:,} components."))
    chosen = Chosen.of(found, prompt)
    x = Places("position and token", chosen.recorded)
    panels = [
        Lines(
            title, x, [Series(name, chosen.row(getattr(part, key))[chosen.real]) for name, part in parts.items()], title
        )
        for key, title in titles
    ]
    count = int(max(chosen.cell(part.count) for part in parts.values()))
    return Drawing(panels, chosen.caption(found, f"{count:,} components a position.", at_position=False))


@draws(ConfidenceEffects)
def confidence_effects(
    found: ConfidenceEffects, *, prompt: int | None = None, position: int | None = None, top: int = 15
) -> Drawing:
    """The neurons that change the model's certainty most, σ live and σ held."""
    chosen = Chosen.of(found, prompt, position)
    live, held = (chosen.cell(part, 1) for part in (found.entropy, found.entropy_frozen))
    flat = np.argsort(-np.abs(live), axis=None, kind="stable")[: max(top, 1)]
    places = np.unravel_index(flat, live.shape)
    names = [f"{found.layers[layer]}.neuron.{index}" for layer, index in zip(*places, strict=True)]
    series = [Series("σ recomputed", live[places]), Series("σ held", held[places])]
    panel = Bars(
        "Neurons by their effect on the entropy", Places("neuron", names), series, "change of the entropy (nats)"
    )
    value = f"{live.size:,} neurons; entropy {float(chosen.cell(found.value)):.4g} nats."
    return Drawing([panel], chosen.caption(found, value))


@draws(ConfidenceSignature)
def confidence_signature(
    found: ConfidenceSignature,
    *,
    prompt: int | None = None,
    position: int | None = None,
    layer: int = -1,
    top: int = 5,
) -> Drawing:
    """One layer's neurons: long columns that move all logits alike are to the lower right.

    Args:
        layer: whose neurons.
        top: how many are named, those with the largest part in weak directions.
    """
    chosen = Chosen.of(found, prompt, position)
    count = found.config.n_layers
    if isinstance(layer, bool) or not -count <= layer < count:
        raise LandedError(f"layer={layer!r} is not there: layers run from 0 to {count - 1}.")
    layer %= count
    norm, variance, weak = (chosen.cell(part, 1)[layer] for part in (found.norm, found.logit_variance, found.weak))
    order = np.argsort(-weak, kind="stable")[: max(top, 0)].tolist()
    named = [(place, f"{layer}.neuron.{place}") for place in order]
    panel = Scatter(
        f"Neurons of layer {layer}",
        "length of the column, ‖w ⊙ γ‖",
        norm,
        "variance of the logits",
        variance,
        named,
        "xy",
    )
    more = f"{len(norm):,} neurons; named: the largest parts in weak directions."
    return Drawing([panel], chosen.caption(found, more))


@draws(WeakDirections)
def weak_directions(found: WeakDirections) -> Drawing:
    """The singular values, weakest first."""
    values = plain(found.singular_values)
    panel = Lines(
        "Singular values of the unembedding",
        Places("direction, weakest first", ()),
        [Series("singular value", values)],
        "singular value",
        at=np.arange(1, len(values) + 1),
        logarithmic="y",
        marks=[(f"the {int(found.count)} weakest", float(values[int(found.count) - 1]))],
    )
    return Drawing([panel], of_prompts(found, 1, "model", f"{len(values):,} directions."))


@draws(Histogram)
def histogram(found: Histogram) -> Drawing:
    """How many contributions of each layer fall into each bin."""
    panels: list[Panel] = []
    for title, part in (("Heads", found.heads), ("Neurons", found.neurons)):
        counts = plain(part)
        layers, bins = (
            Places.counted("layer", len(counts)),
            Places.counted("bin of the landed contribution", counts.shape[1]),
        )
        panels.append(Heat(title, layers, bins, counts, "number of contributions", signed=False))
    total = int(plain(found.heads).sum() + plain(found.neurons).sum())
    batch = 1 if found.provenance is None else np.shape(found.known.tokens.ids)[0]
    return Drawing(panels, of_prompts(found, batch, "prompt", f"{total:,} contributions."))
