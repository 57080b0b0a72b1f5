"""Direct effects on the model's own logit, where that is soft-capped: after the cap."""

import dataclasses

import jax
from jaxtyping import Array, Float

from landed_jax.analysis.attribution._attribute import attribute
from landed_jax.analysis.reads._questions import Logit, QuestionLike, as_question, resolve, site_of
from landed_jax.analysis.registry import analysis
from landed_jax.errors import LandedError
from landed_jax.nn.parameters import unembedding
from landed_jax.nn.per_write import PerWrite
from landed_jax.results.result import Result, result
from landed_jax.trace import Trace


@result
class CappedEffects(Result):
    """What each write does to the model's own logit, or difference of two, at the final norm.

    Attributes:
        effect: the value less the value without the write, σ recomputed, both after the cap.
        value: the model's own logit or difference.
    """

    effect: PerWrite
    value: Float[Array, "batch position"]


@analysis(final_only=True)
def capped_effects(trace: Trace, question: QuestionLike = None) -> CappedEffects:
    """Direct effects after the soft-cap of the logits, ``cap · tanh(l / cap)`` (Gemma 2).

    Contributions sum to the logit l before its cap, so `attribute` gives effects on l. These are the effects on what
    the model puts out: each token's effect passes the cap by itself, and a difference is taken behind it. Without a
    cap both are the same.

    Raises:
        LandedError: for a question that is read before the final norm; in a model with a cap, for what is no token's
            logit and no difference of two (a centred logit is no number of the model's); and what `attribute` refuses.

    References:
        Gemma Team, Gemma 2: Improving Open Language Models at a Practical Size, 2024, section 2 (logit soft-capping).

    >>> import jax.numpy as jnp
    >>> from landed_jax import ModelConfig, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12,
    ...                      logit_cap=0.5)
    >>> params = init_params(config, jax.random.key(0))
    >>> logits, trace = forward(params, jnp.array([[1, 5, 7]]), config)
    >>> bool(jnp.allclose(capped_effects(trace.bind(params), 3).value, logits[..., 3], atol=1e-6))
    True
    """
    asked = as_question(question)
    if site_of(asked) != "final":
        raise LandedError(f"The cap acts on logits, which are read at the final norm, not at {site_of(asked)}.")
    if trace.config.logit_cap is None:
        shares = attribute(trace, asked)
        assert shares.direct_effect is not None
        return CappedEffects(shares.direct_effect, shares.value)
    if not isinstance(asked, Logit) or asked.centred:
        raise LandedError("The cap acts on a token's logit: ask for a token, or for the difference of two.")
    first = _of_token(trace, dataclasses.replace(asked, against=None))
    if asked.against is None:
        return CappedEffects(*first)
    second = _of_token(trace, Logit(asked.against))
    return CappedEffects(first[0].map(lambda mine, theirs: mine - theirs, second[0]), first[1] - second[1])


def _of_token(trace: Trace, question: Logit) -> tuple[PerWrite, jax.Array]:
    shares, to_logits = attribute(trace, resolve(trace, question)), unembedding(trace.weights(), trace.config)
    assert shares.direct_effect is not None
    effect = shares.direct_effect.map(lambda lost, logit: -to_logits.capped_change(logit, -lost), shares.value)
    return effect, to_logits.capped(shares.value)
