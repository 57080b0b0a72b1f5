"""The σ share of every head, neuron and layer's MLP at the final norm: its part of σ², ⟨w, x⟩ / (d σ²)."""

from landed_jax.studies._measured import Keep, Measured, View
from landed_jax.studies.keeps.attribution import per_component


def _measure(view: View) -> dict[str, Measured]:
    part = view.attribution.sigma_share
    assert part is not None  # effects=True
    return per_component(part, experts=view.last.config.n_experts > 0)


KEEP = Keep("sigma_shares", _measure, effects=True, help="σ shares of the same at the final norm")
