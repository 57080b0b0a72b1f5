"""Landed contributions (σ frozen) against direct effects (σ live): by what is asked, kind of component, and layer."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from landed_jax.analysis.attribution._attribute import attribute
from landed_jax.analysis.attribution._frozen_sigma_agreement import Agreement, agreement
from landed_jax.analysis.attribution._layer_effects import layer_effects
from landed_jax.analysis.attribution._log_probability import attribute_log_probability
from landed_jax.analysis.reads._questions import resolve
from landed_jax.analysis.reads._read import Read, beta_at, gamma_at
from landed_jax.nn.functions import heard, rms_sigma, scale_stream
from landed_jax.nn.hook_points import WRITES, HookPoint
from landed_jax.nn.parameters import unembedding
from landed_jax.studies._measured import Keep, Kind, Measured, View, prompts_first
from landed_jax.tasks._pairs import NO_ANSWER, answers_direction
from landed_jax.trace import Trace

MOMENTS = ("mean_estimate", "mean_measured", "spread_estimate", "spread_measured", "covariance")
SUMS = ("error", "size", *MOMENTS)
"""What is kept of an `Agreement`; how many components a layer has, the model's config says."""
# Of one position, tokens of the vocabulary times writes: 4 MiB in float32, which stay in a processor's cache. It takes
# half the processor time of the function's own default, at 49,152 tokens and 1,545 writes a layer.
_CHUNK_NUMBERS = 2**20


def _measure(view: View) -> dict[str, Measured]:
    trace = view.last
    logits = unembedding(trace.weights(), trace.config).logits(trace[HookPoint.FINAL_NORMED])
    trace = dataclasses.replace(trace, logits=logits)
    found = [_of_read(view, read) for read in _reads(view, trace, logits[:, 0])]
    found.append(_of_log_probability(trace, view.right[:, :1], logits))
    # In the order of `MEASURES` and `COMPONENTS`.
    sums = jax.tree.map(lambda *parts: jnp.stack(parts, axis=1), *(sums for _, sums in found))
    kind = Kind(("measure", "component", "layer"), statistics=False)
    return {
        "value": Measured(jnp.stack([value for value, _ in found], axis=1), Kind(("measure",))),
        **{name: Measured(getattr(sums, name), kind) for name in SUMS},
    }


def _reads(view: View, trace: Trace, logits: Float[Array, "prompt vocab"]) -> list[Read]:
    """The right answers' mean logit, the same centred, and its difference to the wrong ones' or the likeliest other."""
    right, wrong, config, dtype = view.right, view.wrong, trace.config, logits.dtype
    asked = jnp.where(right == NO_ANSWER, config.vocab_size, right)  # beyond the last: dropped
    others = logits.at[jnp.arange(len(right))[:, None], asked].set(-jnp.inf, mode="drop")
    other = jnp.argmax(others, axis=1).astype(wrong.dtype)
    alone = jnp.all(wrong == NO_ANSWER, axis=1)
    against = jnp.concatenate([jnp.where(alone, other, wrong[:, 0])[:, None], wrong[:, 1:]], axis=1)
    logit, difference = (
        answers_direction(trace.weights(), config, right, tokens, dtype)
        for tokens in (jnp.full_like(right, NO_ANSWER), against)
    )
    mean = unembedding(trace.weights(), config).mean_row(dtype)
    centred = dataclasses.replace(logit, vector=logit.vector - mean[None, None])
    return [resolve(trace, vector) for vector in (logit, centred, difference)]


def _of_read(view: View, read: Read) -> tuple[Float[Array, " prompt"], Agreement]:
    found = attribute(view.last, read, norms=view.norms)
    whole, effect = layer_effects(view.last, read), found.direct_effect
    assert effect is not None  # effects=True
    pairs = [
        (found.landed.heads, effect.heads),
        (found.landed.neurons, effect.neurons),
        (whole.mlp_landed[..., None], whole.mlp_effect[..., None]),
    ]
    return found.value[:, 0], _sums(pairs)


def _of_log_probability(
    trace: Trace, target: Int[Array, "prompt 1"], logits: Float[Array, "prompt 1 vocab"]
) -> tuple[Float[Array, " prompt"], Agreement]:
    config = trace.config
    chunk = max(_CHUNK_NUMBERS // (config.n_neurons + config.n_heads), 1)
    found = attribute_log_probability(trace, target, chunk=chunk)
    landed, effect = found.landed, found.direct_effect
    of_mlps = _without_mlps(trace, target) - _surprisal(logits, target)[None]
    pairs = [
        (landed.heads, effect.heads),
        (landed.neurons, effect.neurons),
        (landed.mlp[..., None], of_mlps[..., None]),
    ]
    return found.value[:, 0], _sums(pairs)


def _without_mlps(trace: Trace, target: Int[Array, "prompt 1"]) -> Float[Array, "layer prompt 1"]:
    """−log p of the target without each layer's MLP at the final norm, σ recomputed.

    What stays is summed, as `layer_effects` does: the stream less an MLP that is nearly all of it has no digits left.
    """
    config, gamma, beta = trace.config, gamma_at(trace, "final"), beta_at(trace, "final")
    to_logits = unembedding(trace.weights(), config)
    writes = trace.order.interleave(trace[HookPoint.ATTN_WRITE], trace[HookPoint.MLP_WRITE])

    def layer(place: Int[Array, ""]) -> Float[Array, "prompt 1"]:
        removed = (jnp.arange(len(writes)) == place)[:, None, None, None]
        left = heard(trace.start + jnp.sum(jnp.where(removed, 0, writes), axis=0), config)
        normed = scale_stream(left, rms_sigma(left, config.norm_eps), gamma)
        return _surprisal(to_logits.logits(normed if beta is None else normed + beta[None, None]), target)

    # In turn: the logits of one layer are there at a time.
    return jax.lax.map(layer, trace.order.by_layer(jnp.arange(len(writes)))[:, 1])


def _surprisal(logits: Float[Array, "prompt 1 vocab"], target: Int[Array, "prompt 1"]) -> Float[Array, "prompt 1"]:
    """−log p from the odds against the target, which have digits where p is nearly 1."""
    mine = jax.nn.one_hot(target, logits.shape[-1], dtype=bool)
    others = jax.nn.logsumexp(jnp.where(mine, -jnp.inf, logits), axis=-1)
    return jax.nn.softplus(others - jnp.take_along_axis(logits, target[..., None], axis=-1)[..., 0])


def _sums(pairs: list[tuple[jax.Array, jax.Array]]) -> Agreement:
    """Of each kind of component in each layer, ``[prompt, component, layer]``."""
    each = [jax.tree.map(prompts_first, agreement(*pair, (-1,))) for pair in pairs]
    return jax.tree.map(lambda *parts: jnp.stack(parts, axis=1), *each)


KEEP = Keep(
    "sigma_gap",
    _measure,
    WRITES | {HookPoint.ATTN_WRITE, HookPoint.MLP_WRITE},
    effects=True,
    help="how far landed contributions (σ frozen) are from direct effects (σ live)",
)
