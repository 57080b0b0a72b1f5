"""The logit lens at every read site."""

from landed_jax.analysis.attribution._logit_lens import logit_lens
from landed_jax.nn.hook_points import RESIDUALS, WRITES
from landed_jax.studies._measured import Keep, Kind, Measured, View, prompts_first


def _measure(view: View) -> dict[str, Measured]:
    found = logit_lens(view.last, view.read)
    kind = Kind(("site",))
    return {
        "own_sigma": Measured(prompts_first(found.own_sigma), kind),
        "final_sigma": Measured(prompts_first(found.final_sigma), kind),
    }


KEEP = Keep(
    "lens", _measure, WRITES | RESIDUALS, help="the logit lens at every read site, σ its own and the final one's"
)
