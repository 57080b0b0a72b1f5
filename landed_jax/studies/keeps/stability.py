"""How constant 1/σ and the stream as it is heard are, within a prompt and from prompt to prompt.

γ is the same at every position, so the coefficient of variation of |γ_c|/σ is that of 1/σ for every coordinate c, and
every prompt orders the coordinates alike by it (a rank correlation of 1): one number a site says all. What differs by
coordinate is what is heard there, γ_c (x_c − mean x)/σ under LayerNorm and γ_c x_c/σ otherwise. β, which is the same at
all positions, is no part of it. Where a block reads the stream itself, σ and γ are 1, and the stream is what is heard.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from landed_jax.nn.functions import heard, scale_stream
from landed_jax.nn.hook_points import RESIDUALS, SCALES
from landed_jax.studies._measured import Keep, Kind, Measured, View


def mean_and_squares(
    samples: Float[Array, "prompt position *cell"], classes: Bool[Array, "class prompt position"]
) -> tuple[Float[Array, "class prompt *cell"], Float[Array, "class prompt *cell"]]:
    """Each class's mean over the positions of each prompt, and the squared deviations from it, summed; 0 without any.

    >>> mean, squares = mean_and_squares(jnp.array([[9.0, 1.0, 3.0]]), jnp.array([[[False, True, True]]]))
    >>> mean.tolist(), squares.tolist()
    ([[2.0]], [[2.0]])
    """
    members = classes.astype(samples.dtype)
    real = jnp.any(classes, axis=0).reshape(*classes.shape[1:], *(1,) * (samples.ndim - 2))
    samples = jnp.where(real, samples, 0)
    count = jnp.maximum(jnp.sum(members, axis=-1), 1).reshape(*classes.shape[:2], *(1,) * (samples.ndim - 2))
    mean = jnp.einsum("cbp,bp...->cb...", members, samples) / count
    own = jnp.einsum("cbp,cb...->bp...", members, mean)  # a position is of one class
    return mean, jnp.einsum("cbp,bp...->cb...", members, jnp.square(samples - own))


def _measure(view: View) -> dict[str, Measured]:
    trace, classes = view.whole, view.classes
    assert trace is not None and classes is not None  # everywhere=True

    def site(read: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, ...]:
        stream, sigma, gamma = read
        landed = scale_stream(heard(stream, trace.config), sigma, gamma)
        return *mean_and_squares(landed, classes), mean_and_squares(jnp.abs(landed), classes)[0]

    # Site by site, so that the stream of all sites is never there a second time.
    found = jax.lax.map(site, (trace.residual, trace.sigma, trace.gamma))
    mean, squares, profile = (jnp.moveaxis(part, 2, 0) for part in found)  # [prompt, site, class, d_model]
    inverse = mean_and_squares(1 / jnp.moveaxis(trace.sigma, 0, -1), classes)
    level, spread = (jnp.transpose(part, (1, 2, 0)) for part in inverse)  # [prompt, site, class]
    samples = jnp.sum(classes, axis=-1, dtype=jnp.int32).T[:, None]
    heard_axes = ("site", "class", "d_model")
    of_landed = Kind(heard_axes, row=False, quantiles=False, nested=True)
    of_profile = Kind(heard_axes, row=False, quantiles=False, ranked=("d_model",))
    return {
        "inverse_sigma": Measured(
            level,
            Kind(("site", "class"), quantiles=False, nested=True, ranked=("site",)),
            samples=samples,
            squares=spread,
        ),
        "landed": Measured(mean, of_landed, samples=samples[..., None], squares=squares),
        "profile": Measured(profile, of_profile, samples[..., None] > 0),
    }


KEEP = Keep(
    "stability",
    _measure,
    SCALES | RESIDUALS,
    everywhere=True,
    help="how constant 1/σ and the landed stream are, within prompts and between",
)
