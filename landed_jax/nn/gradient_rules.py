"""Rules that change the derivative of the forward pass, and never its values: those of relevance propagation.

Layer-wise relevance propagation gives each input of a step a share of what its output is worth. Where a share is the
input times a coefficient, the coefficients of a whole network are one backward pass in which some steps have another
derivative (Ali et al. 2022): a σ is held, an activation is the straight line from 0 through its point, each factor of a
product has half of the derivative.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp


@dataclass(frozen=True)
class GradientRules:
    """Which steps have another derivative than their own. Static; by default none has.

    Attributes:
        sigma: every norm's σ is held: those of the stream, behind blocks, and of queries and keys.
        activation: an activation is ``x · (act(x) / x)`` with the ratio held.
        products: a gate's and an up product's slopes are halved where they are multiplied.
        attention: ``held``: the pattern, and the weights of experts, are constants. ``halved``: the softmax has its own
            derivative, and both factors of pattern times values, query times key, and expert's weight times activation
            have half of theirs; a cap of scores is as an activation.

    References:
        Ali et al., XAI for Transformers, 2022 (σ and pattern held); Achtibat et al., AttnLRP, 2024 (products, the
        identity rule); Jafari et al., RelP, 2025 (all but the attention's halves).
    """

    sigma: bool = False
    activation: bool = False
    products: bool = False
    attention: Literal["plain", "held", "halved"] = "plain"

    @property
    def any(self) -> bool:
        """Whether some step has another derivative."""
        return self != PLAIN

    def scale(self, sigma: jax.Array) -> jax.Array:
        """A norm's σ as the norm divides by it."""
        return jax.lax.stop_gradient(sigma) if self.sigma else sigma

    def curve(self, function: Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array], jax.Array]:
        """An activation."""
        return functools.partial(secant, function) if self.activation else function

    def factor(self, x: jax.Array) -> jax.Array:
        """A factor of gate times up."""
        return halved(x) if self.products else x

    def weights(self, x: jax.Array) -> jax.Array:
        """A pattern, or experts' weights, as it is made."""
        return jax.lax.stop_gradient(x) if self.attention == "held" else x

    def attention_factor(self, x: jax.Array) -> jax.Array:
        """A factor of one of attention's products, or of expert's weight times activation."""
        return halved(x) if self.attention == "halved" else x


PLAIN = GradientRules()
RELP = GradientRules(sigma=True, activation=True, products=True, attention="held")
ATTNLRP = GradientRules(sigma=True, activation=True, products=True, attention="halved")


@jax.custom_jvp
def halved(x: jax.Array) -> jax.Array:
    """x, with half of its derivative.

    >>> x = jnp.array(3.0)
    >>> float(halved(x)), float(jax.grad(lambda x: halved(x) * halved(x))(x)), float(jax.grad(lambda x: x * x)(x))
    (3.0, 3.0, 6.0)
    """
    return x


@halved.defjvp
def _halved_jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    return primals[0], tangents[0] * jnp.asarray(0.5, tangents[0].dtype)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def secant(function: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    """An elementwise function that is 0 at 0, with the slope of the line from there through its point.

    At 0 it is the function's own.

    >>> x = jnp.array([-2.0, 0.0, 2.0])
    >>> slopes = jax.grad(lambda x: secant(jax.nn.silu, x).sum())(x)
    >>> bool(jnp.allclose(x * slopes, jax.nn.silu(x))), float(slopes[1])
    (True, 0.5)
    """
    return function(x)


@secant.defjvp
def _secant_jvp(
    function: Callable[[jax.Array], jax.Array], primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    (x,), (change,) = primals, tangents
    value, nothing = function(x), x == 0
    ratio = jax.lax.stop_gradient(value / jnp.where(nothing, 1, x))
    at_zero = jax.jvp(function, (jnp.zeros((), x.dtype),), (jnp.ones((), x.dtype),))[1]
    return value, change * jnp.where(nothing, at_zero, ratio)


@jax.custom_jvp
def with_slope_of(value: jax.Array, other: jax.Array) -> jax.Array:
    """A value with the derivative of another."""
    return value


@with_slope_of.defjvp
def _with_slope_of_jvp(primals: tuple[jax.Array, ...], tangents: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
    return primals[0], tangents[1]
