"""The direct effect of every head, neuron and layer's MLP on the asked value."""

from landed_jax.analysis.attribution._layer_effects import layer_effects
from landed_jax.studies._measured import Keep, Measured, View, prompts_first
from landed_jax.studies.keeps.attribution import MLPS, per_component


def _measure(view: View) -> dict[str, Measured]:
    part = view.attribution.direct_effect
    assert part is not None  # effects=True
    # σ changes with each write that goes, so an MLP's effect is not the sum of its neurons'.
    mlp = Measured(prompts_first(layer_effects(view.last, view.read).mlp_effect), MLPS)
    return per_component(part, experts=view.last.config.n_experts > 0, mlp=mlp)


KEEP = Keep("effects", _measure, effects=True, help="direct effects of the same, σ recomputed")
