"""Each head's landed contribution by the tokens that it attends to: first tokens, delimiters, others, and itself."""

import jax.numpy as jnp

from landed_jax.analysis.attribution._sources import attribute_by_source
from landed_jax.nn.hook_points import SOURCES, WRITES
from landed_jax.studies._measured import Keep, Kind, Measured, View


def _measure(view: View) -> dict[str, Measured]:
    landed = attribute_by_source(view.last, view.read).landed[:, :, 0]  # [layer, prompt, head, source]
    by_class = jnp.einsum("lphs,cps->plhc", landed, view.sources.astype(landed.dtype))
    itself = jnp.moveaxis(jnp.take(landed, view.last.at[0], axis=-1), 1, 0)
    return {
        "heads": Measured(by_class, Kind(("layer", "head", "class"))),
        "itself": Measured(itself, Kind(("layer", "head"))),
    }


KEEP = Keep(
    "sources", _measure, WRITES | SOURCES, help="heads' landed contributions by class of source token, and from itself"
)
