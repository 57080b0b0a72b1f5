"""One linear reading of the stream at one norm: what every question is resolved to.

A read's value is ``⟨landed stream, vector⟩ + offset``, the landed stream being what the norm makes of the stream, its
own bias β apart: linear in the stream, so it splits exactly over the writes that come before its site.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from landed_jax.nn.functions import heard, scale_stream
from landed_jax.nn.hook_points import HookPoint
from landed_jax.nn.parameters import is_stacked
from landed_jax.numerics import layer_of, left_broadcast
from landed_jax.results.result import Result, result
from landed_jax.trace import Trace


@result
class Read(Result):
    """A resolved question.

    Attributes:
        vector: ``[batch or 1, position or 1, d_model]``, in the space of the norm's output, γ not included.
        value: ``[batch, position]``, the model's own number.
        offset: the part of the value that no write makes: a neuron's or a head's own bias, and a LayerNorm's β along
            the vector. Of size 1 where it is the same for all.
        target, against: ids ``[batch, position]``, where a logit or a difference is read.
        site: the read site's name.
    """

    vector: Float[Array, "_ _ d_model"]
    value: Float[Array, "batch position"]
    offset: Float[Array, "#batch #position"]
    target: Int[Array, "batch position"] | None = None
    against: Int[Array, "batch position"] | None = None
    site: str = dataclasses.field(default="final", metadata={"static": True})


def folded(trace: Trace, read: Read) -> Float[Array, "_ _ d_model"]:
    """``vector ⊙ γ``, centred under LayerNorm: what meets the stream itself, and each write, up to σ."""
    return heard(read.vector * left_broadcast(gamma_at(trace, read.site), read.vector), trace.config)


def residual_at(trace: Trace, site: str) -> Float[Array, "batch position d_model"]:
    """The residual stream as the norm at `site` reads it.

    Raises:
        LandedError: for a site that is not there, or that was not recorded.
    """
    return _at_site(trace, site, "residual")


def heard_at(trace: Trace, site: str) -> Float[Array, "batch position d_model"]:
    """The residual stream, centred under LayerNorm: that whose root mean square σ is (ε apart)."""
    return heard(residual_at(trace, site), trace.config)


def normed_at(trace: Trace, site: str) -> Float[Array, "batch position d_model"]:
    """What the norm at `site` puts out; computed from the residual where it was not recorded."""
    norm, _ = _place(trace, site)
    if f"{norm}_normed" in trace.sown:
        return _at_site(trace, site, "normed")
    landed, beta = _landed_at(trace, site), beta_at(trace, site)
    return landed if beta is None else landed + beta[None, None]


def landed_stream_at(trace: Trace, site: str) -> Float[Array, "batch position d_model"]:
    """What the norm at `site` puts out, less its own bias β: what all landed writes sum to."""
    beta = beta_at(trace, site)
    return normed_at(trace, site) if beta is None else normed_at(trace, site) - beta[None, None]


def _landed_at(trace: Trace, site: str) -> jax.Array:
    return scale_stream(heard_at(trace, site), sigma_at(trace, site), gamma_at(trace, site))


def sigma_at(trace: Trace, site: str) -> Float[Array, "batch position"]:
    """σ at one read site."""
    return _at_site(trace, site, "sigma")


def gamma_at(trace: Trace, site: str) -> Float[Array, " d_model"]:
    """γ at one read site."""
    return _at_site(trace, site, "gamma")


def beta_at(trace: Trace, site: str) -> Float[Array, " d_model"] | None:
    """β at one read site, of the bound weights; None in a model whose norms have none."""
    norm, layer = _place(trace, site)
    if trace.config.norm != "layer":
        return None
    params = trace.weights()
    if layer is None:
        beta = params["final_norm"]["beta"]
    elif is_stacked(params):
        beta = layer_of(params["layers"][f"{norm}_norm"]["beta"], layer)
    else:
        beta = params["layers"][str(layer)][f"{norm}_norm"]["beta"]
    return beta.astype(gamma_at(trace, site).dtype)


def offset_at(trace: Trace, site: str, vector: Float[Array, "_ _ d_model"]) -> Float[Array, "#batch #position"]:
    """What a norm's own bias β gives to a read along a vector."""
    beta = beta_at(trace, site)
    return jnp.zeros((1, 1), vector.dtype) if beta is None else jnp.vecdot(vector, beta[None, None])


def _at_site(trace: Trace, site: str, kind: str) -> jax.Array:
    norm, layer = _place(trace, site)
    value = trace[HookPoint(f"{norm}_{kind}")]
    return value if layer is None else layer_of(value, layer)


def _place(trace: Trace, site: str) -> tuple[str, int | None]:
    """Which norm a site's name means, and in which layer."""
    trace.order.index(site)
    if site == "final":
        return site, None
    layer, norm = site.split(".")
    return norm, int(layer)
