"""Every write's exact share of a logit."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from landed_jax.analysis.amplification import amplification
from landed_jax.analysis.directions import Reading, Target, read_direction
from landed_jax.analysis.effects import direct_effect, sigma_share
from landed_jax.analysis.projections import inner_products, over_layers, squared_norms
from landed_jax.analysis.result import Attribution
from landed_jax.analysis.sources import split_layer
from landed_jax.nn.sites import Site
from landed_jax.numerics import highest_precision, left_broadcast
from landed_jax.trace import Trace


@highest_precision
def attribute(
    trace: Trace,
    target: Target | None = None,
    against: Target | None = None,
    *,
    direction: Float[Array, "..."] | None = None,
    centred: bool = False,
    effects: bool = True,
) -> Attribution:
    """Split a logit exactly over every head, neuron, the embedding and the biases.

    The landed contribution of a write is ``⟨w ⊙ γ/σ, W_U[t]⟩`` at the final norm; all of them sum to the logit. It
    holds σ fixed, so for a bare logit read it beside the direct effect, or attribute a difference instead.

    Works under ``jit``, ``vmap`` (over prompts, over targets) and ``grad``; text targets are resolved outside.

    Args:
        trace: bound to its weights (``model.trace(...)``, or ``trace.bind(params)``).
        target: a token's text or id; one id or text a prompt ``[batch]``; or one id a recorded position
            ``[batch, position]``. By default each position's own most likely next token.
        against: a second token, likewise: the value is then the logit difference target − against.
        direction: instead of tokens, any vector ``[d_model]`` (or ``[batch, position, d_model]``) that the landed
            stream is read with.
        centred: subtract the mean over the vocabulary from the direction: the centred logit.
        effects: also the direct effects and σ shares (one more product with each output matrix).

    Raises:
        LandedError: for a trace without weights or without the needed sites, a text that is not one token, an id out
            of range, or arguments that contradict each other.

    References:
        Elhage et al., A Mathematical Framework for Transformer Circuits, 2021 (direct logit attribution).

    >>> from landed_jax import ModelConfig, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> params = init_params(config, jax.random.key(0))
    >>> logits, trace = forward(params, jnp.array([[1, 5, 7]]), config)
    >>> shares = attribute(trace.bind(params), target=3)
    >>> bool(jnp.allclose(shares.total, logits[..., 3], atol=1e-5))
    True
    """
    reading = read_direction(trace, target, against, direction, centred)
    return _attribute(dataclasses.replace(trace, logits=None), reading, effects)


@partial(jax.jit, static_argnums=2)
def _attribute(trace: Trace, reading: Reading, effects: bool) -> Attribution:
    config, sigma = trace.config, trace[Site.FINAL_SIGMA]
    vector = reading.direction * left_broadcast(trace[Site.FINAL_GAMMA], reading.direction)
    landed = inner_products(trace, vector).map(lambda product, s: product / s, sigma)
    effect = share = None
    if effects:
        with_stream = inner_products(trace, trace[Site.FINAL_RESIDUAL])
        share = with_stream.map(lambda wx, s: sigma_share(wx, s, config.d_model), sigma)
        effect = landed.map(
            lambda mine, value, wx, ww, s: direct_effect(mine, value, wx, ww, s, config.d_model, config.norm_eps),
            reading.value,
            with_stream,
            squared_norms(trace),
            sigma,
        )
    total = landed.total()
    return Attribution(
        landed=landed,
        direct_effect=effect,
        sigma_share=share,
        value=reading.value,
        total=total,
        closure_error=jnp.abs(total - reading.value),
        target=reading.target,
        against=reading.against,
        attended=_attended(trace, vector),
        scale=amplification(trace),
        tokens=trace.tokens,
        at=trace.at,
        config=config,
        vocabulary=trace.vocabulary,
    )


def _attended(trace: Trace, vector: jax.Array) -> jax.Array | None:
    """The source column with the largest part in each head's contribution, where sources were recorded."""
    if Site.PATTERN.value not in trace.sown or Site.VALUE.value not in trace.sown:
        return None

    def layer(part: dict, pattern: jax.Array, value: jax.Array) -> jax.Array:
        return jnp.argmax(jnp.abs(split_layer(part, pattern, value, vector)), axis=-1)

    return over_layers(layer, trace.weights()["layers"], trace[Site.PATTERN], trace[Site.VALUE])
