"""What reads the stream: a logit, a neuron, a head, or a vector of the user's, each at its own norm.

A read is linear in the landed stream: its value is ``⟨RMSNorm_s(x), vector⟩ + offset``, so it splits exactly over the
writes that come before its site.
"""

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from landed_jax.analysis.reads.targets import Target, token_ids
from landed_jax.errors import LandedError
from landed_jax.nn.functions import scale_stream
from landed_jax.nn.hook_points import HookPoint
from landed_jax.nn.parameters import Params, is_stacked, unembedding
from landed_jax.nn.top_token import top_token
from landed_jax.nn.vocabulary_blocks import mean_row
from landed_jax.numerics import highest_precision, layer_of
from landed_jax.trace import Trace


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Read:
    """One linear reading of the landed stream at one read site.

    Attributes:
        vector: ``[batch or 1, position or 1, d_model]``, in the space of the norm's output, γ not included.
        value: ``[batch, position]``, the model's own number.
        offset: ``[1, 1]``, the part of the value that no write makes: a neuron's or a head's own bias.
        target, against: ids ``[batch, position]``, where the read is a logit or a difference.
        site: the read site's name.
        name: what tables call it.
    """

    vector: Float[Array, "_ _ d_model"]
    value: Float[Array, "batch position"]
    offset: Float[Array, "1 1"]
    target: Int[Array, "batch position"] | None = None
    against: Int[Array, "batch position"] | None = None
    site: str = dataclasses.field(default="final", metadata={"static": True})
    name: str = dataclasses.field(default="logit", metadata={"static": True})


@highest_precision
def read_logit(
    trace: Trace, target: Target | None = None, against: Target | None = None, *, centred: bool = False
) -> Read:
    """A logit, a difference of two, or a logit less the mean over the vocabulary, read at the final norm.

    Args:
        trace: bound to its weights. Without logits of its own (as `forward` gives it) none are made but those asked
            for: the vocabulary is only looked through for each position's top token, a few positions at a time.
        target: a token's text or id; one a prompt ``[batch]``; or one id a recorded position ``[batch, position]``. By
            default each position's own most likely next token.
        against: a second token, likewise: the value is then the logit difference target − against.
        centred: subtract the mean over the vocabulary.

    Raises:
        LandedError: for arguments that contradict each other, ids out of range, or text without a tokenizer.

    References:
        nostalgebraist, interpreting GPT: the logit lens, 2020 (what the unembedding reads).

    >>> from landed_jax import ModelConfig, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> params = init_params(config, jax.random.key(0))
    >>> logits, trace = forward(params, jnp.array([[1, 5, 7]]), config)
    >>> bool(jnp.allclose(read_logit(trace.bind(params), target=3).value, logits[..., 3], atol=1e-5))
    True
    """
    if centred and against is not None:
        raise LandedError("A logit difference is centred already: give against= or centred=True, not both.")
    normed, W_U = trace[HookPoint.FINAL_NORMED], unembedding(trace.weights())
    ids, other = (None if asked is None else token_ids(trace, asked) for asked in (target, against))
    return _logit(normed, W_U, trace.logits, ids, other, centred)


@partial(jax.jit, static_argnums=5)
def _logit(
    normed: jax.Array,
    W_U: jax.Array,
    logits: jax.Array | None,
    ids: jax.Array | None,
    other: jax.Array | None,
    centred: bool,
) -> Read:
    def rows(ids: jax.Array) -> jax.Array:
        return jnp.take(W_U, ids, axis=0).astype(normed.dtype)

    if ids is None:
        ids = top_token(normed, W_U) if logits is None else jnp.argmax(logits, axis=-1)
    vector, name = rows(ids), "logit"
    if other is not None:
        vector, name = vector - rows(other), "logit difference"
        other = jnp.broadcast_to(other, normed.shape[:2])
    if centred:
        vector, name = vector - mean_row(W_U, normed.dtype)[None, None], "centred logit"
    ids = jnp.broadcast_to(ids, normed.shape[:2])
    if logits is None:
        value = jnp.vecdot(normed, vector)
    else:
        value = _pick(logits, ids)
        value = value if other is None else value - _pick(logits, other)
        value = value - jnp.mean(logits, axis=-1) if centred else value
    return Read(vector, value, jnp.zeros((1, 1), normed.dtype), ids, other, "final", name)


@highest_precision
def read_vector(trace: Trace, vector: Float[Array, "..."], *, site: str, name: str = "projection") -> Read:
    """Any vector of yours (a probe, a steering vector), read at a named site.

    Args:
        vector: ``[d_model]``, or ``[batch or 1, position or 1, d_model]``; it is multiplied with the norm's output.
        site: a read site's name, such as ``"3.mlp"`` or ``"final"``; before ``"final"`` the trace needs `RESIDUALS`.

    Raises:
        LandedError: for a vector of another shape, a site that is not there or was not recorded.

    >>> from landed_jax import RESIDUALS, WRITES, ModelConfig, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> params = init_params(config, jax.random.key(0))
    >>> _, trace = forward(params, jnp.array([[1, 5, 7]]), config, record=WRITES | RESIDUALS)
    >>> read_vector(trace.bind(params), jnp.ones(8), site="1.attn").value.shape
    (1, 3)
    """
    normed = normed_at(trace, site)
    wide = jnp.asarray(vector, normed.dtype)
    wide = wide.reshape((1,) * (3 - wide.ndim) + wide.shape)
    if wide.ndim != 3 or not _broadcasts(wide.shape, normed.shape):
        raise LandedError(
            f"A direction has shape [d_model] or [batch, position, d_model], here {list(normed.shape)}, "
            f"not {list(jnp.shape(vector))}."
        )
    return Read(wide, *_projection(normed, wide), site=site, name=name)


@jax.jit
def _projection(normed: jax.Array, vector: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jnp.vecdot(normed, vector), jnp.zeros((1, 1), normed.dtype)


@highest_precision
def read_neuron(trace: Trace, layer: int, index: int, part: Literal["gate", "up"]) -> Read:
    """A neuron's pre-activation: which writes drive it. Its value includes the neuron's own bias, as the offset.

    Args:
        part: the product that the activation function takes (``"gate"``), or the one that it is multiplied with.

    Raises:
        LandedError: for a neuron that is not there, or a trace without `RESIDUALS`.

    References:
        Shazeer, GLU Variants Improve Transformer, 2020 (the gate and up products of a gated MLP).

    >>> from landed_jax import RESIDUALS, WRITES, ModelConfig, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> params = init_params(config, jax.random.key(0))
    >>> _, trace = forward(params, jnp.array([[1, 5, 7]]), config, record=WRITES | RESIDUALS)
    >>> read_neuron(trace.bind(params), layer=1, index=5, part="gate").name
    '1.neuron.5.gate'
    """
    if part not in ("gate", "up"):
        raise LandedError(f"A neuron is read by its gate or its up weights, not by {part!r}.")
    _check_index("neuron", index, trace.config.d_ff)
    leaves = _layer(trace, layer)["mlp"]
    read = read_vector(trace, leaves[f"W_{part}"][index], site=f"{layer}.mlp", name=f"{layer}.neuron.{index}.{part}")
    return _with_offset(read, leaves[f"b_{part}"][index]) if f"b_{part}" in leaves else read


@highest_precision
def read_head(
    trace: Trace, layer: int, head: int, part: Literal["query", "key", "value"], vector: Float[Array, " head_dim"]
) -> Read:
    """A head's query, key or value along a vector of its own space, before rotary embedding.

    Args:
        vector: ``[head_dim]``: a coordinate, a singular direction, or a key that a query is compared with.

    Raises:
        LandedError: for a head that is not there, or a trace without `RESIDUALS`.

    References:
        Elhage et al., A Mathematical Framework for Transformer Circuits, 2021 (what a head's QK and OV circuits read).

    >>> from landed_jax import RESIDUALS, WRITES, ModelConfig, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> params = init_params(config, jax.random.key(0))
    >>> _, trace = forward(params, jnp.array([[1, 5, 7]]), config, record=WRITES | RESIDUALS)
    >>> read_head(trace.bind(params), layer=1, head=3, part="key", vector=jnp.ones(4)).site
    '1.attn'
    """
    letters = {"query": "Q", "key": "K", "value": "V"}
    if part not in letters:
        raise LandedError(f"A head reads with its query, key or value weights, not with {part!r}.")
    _check_index("head", head, trace.config.n_heads)
    if jnp.shape(vector) != (trace.config.head_dim,):
        raise LandedError(f"A head's vector has shape [{trace.config.head_dim}], not {list(jnp.shape(vector))}.")
    leaves = _layer(trace, layer)["attn"]
    dtype = trace[HookPoint.EMBEDDING].dtype
    vector = jnp.asarray(vector, dtype)
    row = head if part == "query" else head // trace.config.group_size
    read = read_vector(
        trace,
        vector @ leaves[f"W_{letters[part]}"][row].astype(dtype),
        site=f"{layer}.attn",
        name=f"{layer}.head.{head}.{part}",
    )
    bias = leaves.get(f"b_{letters[part]}")
    return read if bias is None else _with_offset(read, bias[row].astype(dtype) @ vector)


def chosen_read(trace: Trace, target: Target | None, against: Target | None, centred: bool, read: Read | None) -> Read:
    """The read that an analysis was asked for: the given one, or a logit's; without its name.

    Programs are kept by what is static in their arguments: two neurons of a layer share one.
    """
    if read is None:
        read = read_logit(trace, target, against, centred=centred)
    elif target is not None or against is not None or centred:
        raise LandedError("Give either read= or tokens (target=, against=, centred=), not both.")
    return dataclasses.replace(read, name="")


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


def _layer(trace: Trace, layer: int) -> Params:
    _check_index("layer", layer, trace.config.n_layers)
    layers = trace.weights()["layers"]
    return (
        jax.tree.map(lambda leaf: layer_of(leaf, layer), layers) if is_stacked(trace.weights()) else layers[str(layer)]
    )


def _check_index(what: str, index: int, size: int) -> None:
    if not 0 <= index < size:
        raise LandedError(f"There is no {what} {index}: they run from 0 to {size - 1}.")


def _with_offset(read: Read, bias: Float[Array, ""]) -> Read:
    offset = bias.astype(read.value.dtype).reshape(1, 1)
    return dataclasses.replace(read, offset=offset, value=read.value + offset)


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    return shape[-1] == to[-1] and all(a in (1, b) for a, b in zip(shape, to, strict=True))


def _pick(logits: jax.Array, ids: jax.Array) -> jax.Array:
    return jnp.take_along_axis(logits, ids[..., None], axis=-1)[..., 0]
