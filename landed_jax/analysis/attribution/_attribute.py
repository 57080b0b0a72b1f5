"""Every write's exact share of a logit."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp

from landed_jax.analysis.attribution._effects import mediated
from landed_jax.analysis.attribution._result import Attribution
from landed_jax.analysis.attribution._shares import folded_vectors, shares_of
from landed_jax.analysis.reads._questions import QuestionLike, as_question, resolve
from landed_jax.analysis.reads._read import Read, folded, sigma_at
from landed_jax.analysis.reads._targets import Target
from landed_jax.analysis.registry import analysis
from landed_jax.analysis.scale._amplification import amplification
from landed_jax.analysis.writes._projections import check_norms, from_layers, inner_products_with, only_before
from landed_jax.nn.hook_points import HookPoint
from landed_jax.nn.layer_programs import by_layers
from landed_jax.nn.layer_writes import LayerWrites
from landed_jax.nn.per_write import PerWrite
from landed_jax.nn.weight_norms import WeightNorms
from landed_jax.trace import Trace, bare


@analysis(bucketed=True)
def attribute(
    trace: Trace,
    question: QuestionLike = None,
    against: Target | None = None,
    *,
    effects: bool = True,
    norms: WeightNorms | None = None,
) -> Attribution:
    """Split a logit, or anything else that reads the stream, exactly over the writes before it.

    The landed contribution of a write is ``⟨w ⊙ γ/σ, W_U[t]⟩`` at the final norm; all of them sum to the logit. It
    holds σ fixed, so look at it beside the direct effect: the gap is ``(landed − value) (σ/σ′ − 1)``. A difference of
    logits escapes it only while it is small (`frozen_sigma_agreement` measures it).

    Works under ``jit``, ``vmap`` (over prompts, over questions) and ``grad``; tokens given as text are resolved
    outside.

    Args:
        trace: bound to its weights (``model.trace(...)``, or ``trace.bind(params)``).
        question: what is read: a `Logit`, `Neuron`, `Head` or `Vector`, or a token's text or id (one for all, one a
            prompt ``[batch]``, or one a recorded position ``[batch, position]``), which is short for its `Logit`. By
            default each position's own most likely next token. Writes that come after the question's site contribute 0.
        against: ``attribute(trace, " Rome", against=" Paris")`` is short for ``Logit(" Rome", against=" Paris")``.
        effects: also the direct effects and σ shares at the read's site (one more product with each output matrix; at
            sites before the final norm the trace needs `RESIDUALS`), and norms of the output weights.
        norms: `weight_norms` of the same weights: the part of the direct effects that is the same for every prompt.
            By default it is computed here, in every call.

    Raises:
        LandedError: for a trace without weights or without the needed sites, a text that is not one token, an id out
            of range, or arguments that contradict each other.

    References:
        Elhage et al., A Mathematical Framework for Transformer Circuits, 2021 (direct logit attribution).

    >>> from landed_jax import ModelConfig, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> params = init_params(config, jax.random.key(0))
    >>> logits, trace = forward(params, jnp.array([[1, 5, 7]]), config)
    >>> shares = attribute(trace.bind(params), 3)
    >>> bool(jnp.allclose(shares.total, logits[..., 3], atol=1e-5))
    True
    """
    read = resolve(trace, as_question(question, against))
    check_norms(norms, trace)
    return _attribute(bare(trace), read, norms, effects=effects)


@partial(by_layers, static=("effects",))
def _attribute(trace: Trace, read: Read, norms: WeightNorms | None, *, effects: bool) -> Attribution:
    def heard(products: PerWrite) -> PerWrite:
        return only_before(products, trace.config, read.site)

    products = [heard(product) for product in inner_products_with(trace, folded_vectors(trace, read, effects))]
    shares = shares_of(trace, read, products, lambda mine, xw: mediated(trace, read, mine, xw, norms))
    total = shares.landed.total() + read.offset
    attended, attended_landed = _attended(trace, read)
    return Attribution(
        landed=shares.landed,
        direct_effect=shares.direct_effect,
        sigma_share=shares.sigma_share,
        value=read.value,
        total=total,
        closure_error=jnp.abs(total - read.value),
        offset=read.offset,
        target=read.target,
        against=read.against,
        attended=attended,
        attended_landed=attended_landed,
        experts=None if trace.chosen is None else trace.chosen.ids,
        scale=dataclasses.replace(amplification(trace), provenance=None),
        site=read.site,
    )


def _attended(trace: Trace, read: Read) -> tuple[jax.Array, jax.Array] | tuple[None, None]:
    """The source column with the largest part in each heard head's contribution, and that part, if recorded."""
    if HookPoint.PATTERN.value not in trace.sown or HookPoint.VALUE.value not in trace.sown:
        return None, None
    vector = folded(trace, read)

    def layer(writes: LayerWrites, pattern: jax.Array, value: jax.Array) -> tuple[jax.Array, jax.Array]:
        split = writes.by_source(vector, pattern, value)
        highest, lowest = jnp.max(split, axis=-1), jnp.min(split, axis=-1)
        return jnp.argmax(jnp.abs(split), axis=-1), jnp.where(highest >= -lowest, highest, lowest)

    columns, parts = from_layers(trace, layer, trace[HookPoint.PATTERN], trace[HookPoint.VALUE])
    heard = (jnp.arange(len(columns)) < trace.order.layers_before(read.site)[0])[:, None, None, None]
    landed = parts / sigma_at(trace, read.site)[None, :, :, None]
    return jnp.where(heard, columns, -1), jnp.where(heard, landed, 0)
