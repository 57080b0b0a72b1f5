"""Whether a head's OV circuit copies: the logits of a token in what the head would write, attending to it alone."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from landed_jax.analysis.reads._read import gamma_at
from landed_jax.analysis.registry import analysis
from landed_jax.analysis.writes._projections import from_layers
from landed_jax.nn.functions import heard
from landed_jax.nn.hook_points import SOURCES, WRITES, HookPoint
from landed_jax.nn.layer_programs import by_layers
from landed_jax.nn.layer_writes import LayerWrites
from landed_jax.nn.parameters import unembedding
from landed_jax.numerics import safe_root
from landed_jax.results.result import Result, result
from landed_jax.trace import Trace, bare


@result
class Copying(Result):
    """Where each token stands among the logits of what a head would write if it attended to that token alone.

    Attributes:
        above: how many tokens of the vocabulary have a larger logit than the token itself: 0 where it is the first.
        below: how many have a smaller one: 0 where it is the last, which a suppressing head makes of it.
        deviations: its logit less the vocabulary's mean, in standard deviations over the vocabulary; 0 where a head
            writes nothing.
    """

    above: Int[Array, "layer batch source head"]
    below: Int[Array, "layer batch source head"]
    deviations: Float[Array, "layer batch source head"]

    def copied(self, top: int = 5) -> Bool[Array, "layer batch source head"]:
        """Whether the token is among its `top` largest logits, and above their mean: a head that writes nothing does
        not copy.
        """
        return (self.above < top) & (self.deviations > 0)

    def suppressed(self, top: int = 5) -> Bool[Array, "layer batch source head"]:
        """Whether the token is among its `top` smallest logits, and below their mean."""
        return (self.below < top) & (self.deviations < 0)


@analysis(record=WRITES | SOURCES, bucketed=True)
def copying(trace: Trace) -> Copying:
    """For every head and token, whether the head raises the logit of the token that it attends to.

    The value is the model's own, of the token as it stands in its prompt; its write is read at the final norm, as the
    unembedding hears it. So no layer's norm or bias is left out, and the share of tokens that are copied is of these
    prompts. One product with the unembedding for every head and token: ``layers · heads · vocab · d_model`` each.

    Args:
        trace: bound to its weights, with `SOURCES` recorded beside `WRITES`.

    Raises:
        LandedError: for a trace without weights or without the needed sites.

    References:
        Elhage et al., A Mathematical Framework for Transformer Circuits, 2021 (copying heads); Wang et al.,
        Interpretability in the Wild, 2022, arXiv:2211.00593 (the copy score: the share of names that are among the
        five largest logits of the OV circuit).

    >>> from landed_jax.testbed import copying_head
    >>> planted = copying_head(layer=1, head=2, source=3)
    >>> found = copying(planted.trace())
    >>> int(found.above[1, 0, 3, 2]), float(found.deviations[1, 0, 3, 2]) > 4
    (0, True)
    """
    return copying_of(bare(trace), trace[HookPoint.VALUE], trace.tokens.ids)


@by_layers
def copying_of(
    trace: Trace, value: Float[Array, "layer batch source kv_head head_dim"], ids: Int[Array, "batch source"]
) -> Copying:
    """`copying` of some values and the tokens that they are of."""
    to_logits, gamma = unembedding(trace.weights(), trace.config), gamma_at(trace, "final")

    def of_prompt(written: Float[Array, "source d_model"], ids: Int[Array, " source"]) -> tuple[jax.Array, ...]:
        logits = to_logits.uncapped(heard(written, trace.config) * gamma[None])
        own = jnp.take_along_axis(logits, ids[:, None], axis=-1)
        apart = own[:, 0] - jnp.mean(logits, axis=-1)
        spread = safe_root(jnp.var(logits, axis=-1))
        deviations = apart / jnp.where(spread > 0, spread, 1)
        return jnp.sum(logits > own, axis=-1), jnp.sum(logits < own, axis=-1), deviations

    def layer(writes: LayerWrites, value: jax.Array) -> tuple[jax.Array, ...]:
        # A prompt at a time: the logits of all prompts together may not fit.
        return writes.attending_to(value).for_each_head(
            lambda written: jax.lax.map(lambda prompt: of_prompt(*prompt), (written, ids))
        )

    return Copying(*from_layers(trace, layer, value))
