"""Writes removed together: what a head and a neuron, or a whole layer, do between them, cross terms counted."""

import functools
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from landed_jax.analysis.attribution._reader import reader_of
from landed_jax.analysis.attribution._removal import removal
from landed_jax.analysis.reads._questions import QuestionLike, resolve
from landed_jax.analysis.reads._read import Read
from landed_jax.analysis.registry import analysis
from landed_jax.analysis.writes._projections import from_layers, only_before
from landed_jax.analysis.writes._write import EMBEDDING_FIELDS, Write, describe, next_site
from landed_jax.errors import LandedError
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.hook_points import HookPoint
from landed_jax.nn.layer_programs import by_layers
from landed_jax.nn.layer_writes import LayerWrites
from landed_jax.nn.per_write import PerWrite
from landed_jax.numerics import compute_dtype
from landed_jax.results.result import Result, result
from landed_jax.trace import Trace, bare


@result
class GroupEffect(Result):
    """What a group of writes does to a value, all of it removed at once.

    Attributes:
        landed: the group's landed contribution, σ held fixed: the sum of its writes' own.
        effect: the value less the value without the group, σ recomputed. Not the sum of the writes' own effects.
        mediated: effect − landed, what the group does by changing the scale that divides all writes.
        sigma, sigma_without: σ at the read's site, and σ′ of the stream without the group.
        value: the model's own number, in whose units `landed`, `effect` and `mediated` are.
        closure_error: ``|landed contributions of the group and of the rest + offset − value|``: float arithmetic's
            error, unless the pass was edited so that the writes no longer sum to the stream.
    """

    landed: Float[Array, "batch position"]
    effect: Float[Array, "batch position"]
    mediated: Float[Array, "batch position"]
    sigma: Float[Array, "batch position"]
    sigma_without: Float[Array, "batch position"]
    value: Float[Array, "batch position"]
    closure_error: Float[Array, "batch position"]


def write_group(model: ModelConfig | Trace, writes: Sequence[Write]) -> PerWrite:
    """The group of these writes: 1 for each, 0 for every other write, at all positions of all prompts.

    Heads and neurons go by their layer and index; the position and the prompt that a `Write` names play no part.

    Args:
        model: the model's configuration; for neurons of experts the trace, whose positions chose their experts: at
            those that did not choose a neuron's, there is nothing to remove.

    Returns:
        Weights whose batch and position axes have size 1 (of experts' neurons those of the trace). Groups can be scaled
        and combined like any arrays: ``group.map(lambda w: 1 - w)`` is all the other writes,
        ``a.map(jnp.maximum, b)`` the union of two.

    Raises:
        LandedError: for a write that this model does not have, a head's part from one source token, or a neuron of an
            expert without a trace.

    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> group = write_group(config, [Write("head", 1, 3), Write("neuron", 0, 7), Write("neuron", 0, 9)])
    >>> float(group.heads.sum()), float(group.neurons.sum()), group.neurons.shape
    (1.0, 2.0, (2, 1, 1, 12))
    """
    config = model.config if isinstance(model, Trace) else model
    weights = _nothing(config)
    if any(write.expert is not None for write in writes):
        if not isinstance(model, Trace):
            raise LandedError("Where an expert's neurons stand depends on the position: give the trace to write_group.")
        batch, position = model[HookPoint.EMBEDDING].shape[:2]
        weights["neurons"] = np.zeros(_shapes(config, batch, position)["neurons"])
    for write in writes:
        next_site(write, config)  # refuses a write that is not there
        if write.source is not None:
            raise LandedError(f"{describe(write)}: a group holds whole writes, not the part from one source token.")
        if write.kind in EMBEDDING_FIELDS:
            weights[EMBEDDING_FIELDS[write.kind]][...] = 1
        elif write.expert is not None and isinstance(model, Trace):
            chose = np.asarray(model[HookPoint.EXPERT][write.layer]) == write.expert
            weights["neurons"][write.layer, ..., write.index :: config.d_ff][chose] = 1
        elif write.kind in ("head", "neuron"):
            weights[f"{write.kind}s"][write.layer, :, :, write.index] = 1
        else:
            weights[write.kind][write.layer] = 1
    return _as_group(weights)


def layer_group(config: ModelConfig, layer: int, part: Literal["attn", "mlp", "both"] = "both") -> PerWrite:
    """The group of all that one layer writes: its heads, its neurons, or both, output biases included.

    Raises:
        LandedError: for a layer or a part that is not there.

    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> layer_group(config, 1, "attn").heads[:, 0, 0].tolist()
    [[0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]]
    """
    if not 0 <= layer < config.n_layers:
        raise LandedError(f"There is no layer {layer}: they run from 0 to {config.n_layers - 1}.")
    if part not in ("attn", "mlp", "both"):
        raise LandedError(f"A layer's parts are attn, mlp and both, not {part!r}.")
    weights = _nothing(config)
    if part != "mlp":
        weights["heads"][layer] = weights["attn_bias"][layer] = 1
    if part != "attn":
        weights["neurons"][layer] = weights["mlp_bias"][layer] = 1
    return _as_group(weights)


@analysis(example=lambda trace: {"group": layer_group(trace.config, 0)})
def group_effect(
    trace: Trace,
    question: QuestionLike = None,
    *,
    group: PerWrite,
) -> GroupEffect:
    """What a value loses at its own norm without a group of writes, σ recomputed from the stream without them.

    With ``w = Σ_u weight_u w_u``, the value without the group is ``⟨RMSNorm_s(x − w), vector⟩ + offset`` (behind an
    output norm w is what the stream loses: the norm scales what is left of its input): exact, for
    heads that back each other up or cancel as for a single write. This is the direct path: later layers stay as they
    ran, and what the group does through them is not in it (ablate with ``edits=`` for the total effect). Writes that
    come after the read's site play no part.

    In float32 the effect keeps its digits at both ends: of a small group it is computed from the change of σ², and
    of one that leaves less than a quarter of σ² behind from the sum of the writes that stay, not as a difference.

    For several groups at once stack them and ``jax.vmap(lambda g: group_effect(trace, question, group=g))``. A group
    costs two products with each output matrix.

    Args:
        trace: bound to its weights; a read before the final norm needs `RESIDUALS`.
        question: what to measure, as for `attribute`.
        group: a weight for every write, from `write_group`, `layer_group`, or your own: 1 removes a write, 0 keeps
            it, a fraction removes that part. Axes of size 1 stand for all of theirs.

    Returns:
        Each number ``[batch, position]``, in units of the value (σ in those of the stream).

    Raises:
        LandedError: for a trace without weights or without the needed sites, a group that does not fit the trace, or
            arguments that contradict each other.

    References:
        McGrath et al., The Hydra Effect: Emergent Self-repair in Language Model Computations, 2023 (direct effects,
        and total ones beside them).

    >>> import jax
    >>> from landed_jax import ModelConfig, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> params = init_params(config, jax.random.key(0))
    >>> logits, trace = forward(params, jnp.array([[1, 5, 7]]), config)
    >>> everything = layer_group(config, 0).map(jnp.ones_like)
    >>> found = group_effect(trace.bind(params), 3, group=everything)
    >>> bool(jnp.allclose(found.effect, logits[..., 3], atol=1e-5))  # without any write the logit is 0
    True
    """
    _check_fits(trace, group)
    read = resolve(trace, question)
    group = group.map(lambda weight: jnp.asarray(weight, read.value.dtype))
    return _group_effect(bare(trace), group, read)


@by_layers
def _group_effect(trace: Trace, group: PerWrite, read: Read) -> GroupEffect:
    reader, others = reader_of(trace, read), group.map(lambda weight: 1 - weight)
    removed, kept = (summed_writes(trace, weights, site=read.site) for weights in (group, others))
    landed, rest = (reader.landed(part) for part in (removed, kept))
    if trace.config.output_norms:
        removed, kept = _lost_and_left(trace, group, others, read.site)
    found = removal(removed, kept, reader)
    return GroupEffect(
        landed=landed,
        effect=found.effect,
        mediated=found.mediated + (found.landed - landed),
        sigma=reader.sigma,
        sigma_without=found.sigma_without,
        value=read.value,
        closure_error=jnp.abs(landed + rest - (read.value - read.offset)),
    )


def _lost_and_left(
    trace: Trace, group: PerWrite, others: PerWrite, site: str
) -> tuple[Float[Array, "batch position d_model"], Float[Array, "batch position d_model"]]:
    """What the stream loses without the group, and what stays, where each output norm scales what is left to it."""
    group, others = (only_before(weights, trace.config, site) for weights in (group, others))

    def layer(writes: LayerWrites, group: PerWrite, others: PerWrite) -> tuple[jax.Array, jax.Array]:
        parts = writes.before_output_norm()
        sums = zip((writes.attn, writes.mlp), parts.weighted_sums(group), parts.weighted_sums(others), strict=True)
        found = [(scale.lost(gone + rest, gone, rest), scale.of_rest(rest)) for scale, gone, rest in sums]
        return found[0][0] + found[1][0], found[0][1] + found[1][1]

    lost, left = from_layers(trace, layer, *(weights.without_embedding() for weights in (group, others)))
    gone, kept = (_of_embeddings(trace, weights) for weights in (group, others))
    return gone + jnp.sum(lost, axis=0), kept + jnp.sum(left, axis=0)


def _of_embeddings(trace: Trace, weights: PerWrite) -> Float[Array, "batch position d_model"]:
    """The weighted sum of the writes before the layers."""
    parts = (written * weights.embeddings[name][..., None] for name, written in trace.embeddings.items())
    return functools.reduce(jnp.add, parts)


def summed_writes(trace: Trace, weights: PerWrite, *, site: str = "final") -> Float[Array, "batch position d_model"]:
    """``Σ_u weight_u w_u`` over the writes before a read site, made from the factors.

    >>> import jax
    >>> from landed_jax import ModelConfig, HookPoint, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> params = init_params(config, jax.random.key(0))
    >>> _, trace = forward(params, jnp.array([[1, 5, 7]]), config)
    >>> everything = layer_group(config, 0).map(jnp.ones_like)
    >>> bool(jnp.allclose(summed_writes(trace.bind(params), everything), trace[HookPoint.FINAL_RESIDUAL], atol=1e-5))
    True
    """
    dtype = trace[HookPoint.EMBEDDING].dtype
    weights = only_before(weights.map(lambda weight: jnp.asarray(weight, dtype)), trace.config, site)

    of_layers = weights.without_embedding()
    attn, mlp = from_layers(trace, lambda writes, mine: writes.weighted_sums(mine), of_layers)
    return _of_embeddings(trace, weights) + jnp.sum(attn + mlp, axis=0)


def _shapes(config: ModelConfig, batch: int, position: int) -> dict[str, tuple[int, ...]]:
    layers = (config.n_layers, batch, position)
    embeddings = EMBEDDING_FIELDS.values() if config.learned_positions else ("embedding",)
    return {
        **dict.fromkeys(embeddings, (batch, position)),
        "heads": (*layers, config.n_heads),
        "neurons": (*layers, config.n_neurons),
        "attn_bias": layers,
        "mlp_bias": layers,
    }


def _nothing(config: ModelConfig) -> dict[str, np.ndarray]:
    return {name: np.zeros(shape) for name, shape in _shapes(config, 1, 1).items()}


def _as_group(weights: dict[str, np.ndarray]) -> PerWrite:
    return PerWrite(**{name: jnp.asarray(weight, compute_dtype()) for name, weight in weights.items()})


def _check_fits(trace: Trace, group: PerWrite) -> None:
    batch, position = trace[HookPoint.EMBEDDING].shape[:2]
    for name, shape in _shapes(trace.config, batch, position).items():
        found = jnp.shape(getattr(group, name))
        # The layer axis is whole, because a layer's place decides whether the read hears it.
        whole = name in EMBEDDING_FIELDS.values() or found[:1] == shape[:1]
        if not whole or len(found) != len(shape) or any(n not in (1, m) for n, m in zip(found, shape, strict=True)):
            raise LandedError(
                f"The group's {name} have shape {list(found)}, which does not broadcast to {list(shape)}."
            )
