"""One linear reading of the stream at one norm: what every question is resolved to.

A read's value is ``⟨RMSNorm_s(x), vector⟩ + offset``: linear in the landed stream, so it splits exactly over the writes
that come before its site.
"""

import dataclasses

import jax
from jaxtyping import Array, Float, Int

from landed_jax.nn.functions import scale_stream
from landed_jax.nn.hook_points import HookPoint
from landed_jax.numerics import layer_of, left_broadcast
from landed_jax.results.result import Result, result
from landed_jax.trace import Trace


@result
class Read(Result):
    """A resolved question.

    Attributes:
        vector: ``[batch or 1, position or 1, d_model]``, in the space of the norm's output, γ not included.
        value: ``[batch, position]``, the model's own number.
        offset: ``[1, 1]``, the part of the value that no write makes: a neuron's or a head's own bias.
        target, against: ids ``[batch, position]``, where a logit or a difference is read.
        site: the read site's name.
    """

    vector: Float[Array, "_ _ d_model"]
    value: Float[Array, "batch position"]
    offset: Float[Array, "1 1"]
    target: Int[Array, "batch position"] | None = None
    against: Int[Array, "batch position"] | None = None
    site: str = dataclasses.field(default="final", metadata={"static": True})


def folded(trace: Trace, read: Read) -> Float[Array, "_ _ d_model"]:
    """``vector ⊙ γ``: with γ folded in, the read's vector meets the stream itself, up to σ."""
    return read.vector * left_broadcast(gamma_at(trace, read.site), read.vector)


def residual_at(trace: Trace, site: str) -> Float[Array, "batch position d_model"]:
    """The residual stream as the norm at `site` reads it.

    Raises:
        LandedError: for a site that is not there, or that was not recorded.
    """
    return _at_site(trace, site, "residual")


def normed_at(trace: Trace, site: str) -> Float[Array, "batch position d_model"]:
    """What the norm at `site` puts out; computed from the residual where it was not recorded."""
    norm, _ = _place(trace, site)
    if f"{norm}_normed" in trace.sown:
        return _at_site(trace, site, "normed")
    return scale_stream(residual_at(trace, site), sigma_at(trace, site), gamma_at(trace, site))


def sigma_at(trace: Trace, site: str) -> Float[Array, "batch position"]:
    """σ at one read site."""
    return _at_site(trace, site, "sigma")


def gamma_at(trace: Trace, site: str) -> Float[Array, " d_model"]:
    """γ at one read site."""
    return _at_site(trace, site, "gamma")


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
