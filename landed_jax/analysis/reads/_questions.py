"""What can be asked of a trace: a logit, a neuron, a router, a head, or a vector, each read at its own norm.

A question is a small pytree; `resolve` turns it into a `Read`, once, against the trace. A bare token, text or id, is
short for `Logit`; no question asks for each position's most likely next token.
"""

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from landed_jax.analysis.reads._layer_weights import check_index, weights_of_layer
from landed_jax.analysis.reads._read import Read, beta_at, normed_at, offset_at
from landed_jax.analysis.reads._targets import Target, ids_of, is_text, token_ids
from landed_jax.errors import LandedError
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.functions import rms_sigma
from landed_jax.nn.hook_points import HookPoint
from landed_jax.nn.layer_programs import by_layers
from landed_jax.nn.parameters import Params, unembedding
from landed_jax.nn.top_token import top_token
from landed_jax.nn.unembedding import Unembedding
from landed_jax.nn.weights_on_disk import in_memory
from landed_jax.numerics import highest_precision
from landed_jax.shapes import ShapeRepr
from landed_jax.trace import Trace, bare
from landed_jax.vocabulary import Vocabulary


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True)
class Logit:
    """A logit, a difference of two, or a logit less the mean over the vocabulary, read at the final norm.

    Text is static under ``jit``; ids are arrays.

    Args:
        token: a token's text or id; one a prompt ``[batch]``; or one id a recorded position ``[batch, position]``. By
            default each position's own most likely next token.
        against: a second token, likewise: the value is then the logit difference token − against.
        centred: subtract the mean over the vocabulary.

    References:
        nostalgebraist, interpreting GPT: the logit lens, 2020 (what the unembedding reads).

    >>> from landed_jax import ModelConfig, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> params = init_params(config, jax.random.key(0))
    >>> logits, trace = forward(params, jnp.array([[1, 5, 7]]), config)
    >>> difference = resolve(trace.bind(params), Logit(3, against=4)).value
    >>> bool(jnp.allclose(difference, logits[..., 3] - logits[..., 4], atol=1e-5))
    True
    """

    token: Target | None = None
    against: Target | None = None
    centred: bool = False

    def tree_flatten(self) -> tuple[tuple[Any, Any], tuple[Any, Any, bool]]:
        tokens = (self.token, self.against)
        ids = tuple(None if is_text(token) else token for token in tokens)
        texts = tuple(_hashable(token) if is_text(token) else None for token in tokens)
        return ids, (*texts, self.centred)  # pyright: ignore[reportReturnType]

    @classmethod
    def tree_unflatten(cls, static: tuple[Any, Any, bool], ids: tuple[Any, Any]) -> "Logit":
        token, against = (text if text is not None else part for text, part in zip(static[:2], ids, strict=True))
        return cls(token, against, static[2])

    def in_ids(self, vocabulary: Vocabulary | None, config: ModelConfig) -> "Logit":
        """The same question with ids in place of text.

        Raises:
            LandedError: for text that is not one token, or without a tokenizer, and ids out of range.
        """

        tokens = (self.token, self.against)
        token, against = (None if given is None else ids_of(given, vocabulary, config) for given in tokens)
        return dataclasses.replace(self, token=token, against=against)

    def resolve(self, trace: Trace) -> Read:
        """The reading that this is in a trace."""
        if self.centred and self.against is not None:
            raise LandedError("A logit difference is centred already: give against= or centred=True, not both.")
        normed, to_logits = trace[HookPoint.FINAL_NORMED], unembedding(trace.weights(), trace.config, whole=False)
        ids, other = (None if token is None else token_ids(trace, token) for token in (self.token, self.against))
        return _logit(normed, beta_at(trace, "final"), to_logits, trace.logits, ids, other, centred=self.centred)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Neuron:
    """A neuron's pre-activation: which writes drive it. Its value includes the neuron's own bias, as the offset.

    The trace needs `RESIDUALS`. The layer is static under ``jit``; the index may be traced.

    Args:
        part: the product that the activation function takes (``"gate"``), or the one that it is multiplied with
            (``"up"``), which a model without a gate does not have.
        expert: whose neuron it is, in a model with experts; at positions that did not choose it, what it would have
            read.

    References:
        Shazeer, GLU Variants Improve Transformer, 2020 (the gate and up products of a gated MLP).

    >>> from landed_jax import RESIDUALS, WRITES, ModelConfig, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> params = init_params(config, jax.random.key(0))
    >>> _, trace = forward(params, jnp.array([[1, 5, 7]]), config, record=WRITES | RESIDUALS | {HookPoint.GATE})
    >>> read = resolve(trace.bind(params), Neuron(1, 5, "gate"))
    >>> read.site, bool(jnp.allclose(read.value, trace[HookPoint.GATE][1, ..., 5], atol=1e-5))
    ('1.mlp', True)
    """

    layer: int = dataclasses.field(metadata={"static": True})
    index: int | Int[Array, ""]
    part: Literal["gate", "up"] = dataclasses.field(metadata={"static": True})
    expert: int | Int[Array, ""] | None = None

    def resolve(self, trace: Trace) -> Read:
        """The reading that this is in a trace."""
        if self.part not in ("gate", "up"):
            raise LandedError(f"A neuron is read by its gate or its up weights, not by {self.part!r}.")
        if self.part == "up" and not trace.config.gated_mlp:
            raise LandedError('A neuron of this model has no up weights: its one pre-activation is its "gate".')
        check_index("neuron", self.index, trace.config.d_ff)
        place, name = self._place(trace.config), self.part if trace.config.gated_mlp else "in"
        leaves = weights_of_layer(trace, self.layer)["experts" if trace.config.n_experts else "mlp"]
        read = Vector(leaves[f"W_{name}"][place], site=f"{self.layer}.mlp").resolve(trace)
        return _with_offset(read, leaves[f"b_{name}"][place]) if f"b_{name}" in leaves else read

    def _place(self, config: ModelConfig) -> tuple[Any, ...]:
        """Where its weights stand in their leaf."""
        if self.expert is None:
            if config.n_experts:
                raise LandedError("A neuron of this model is one of an expert: give expert=.")
            return (self.index,)
        if not config.n_experts:
            raise LandedError("This model has no experts: leave expert= out.")
        check_index("expert", self.expert, config.n_experts)
        return self.expert, self.index


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Router:
    """A router's logit of one expert: which writes sent the tokens there. Its value includes the router's own bias.

    The trace needs `RESIDUALS`. The layer is static under ``jit``; the expert may be traced.

    References:
        Shazeer et al., Outrageously Large Neural Networks: The Sparsely-Gated Mixture-of-Experts Layer, 2017.

    >>> from landed_jax import RESIDUALS, ROUTING, WRITES, ModelConfig, forward, init_params
    >>> sizes = dict(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> config = ModelConfig(**sizes, n_experts=4, experts_per_token=2)
    >>> params = init_params(config, jax.random.key(0))
    >>> _, trace = forward(params, jnp.array([[1, 5, 7]]), config, record=WRITES | RESIDUALS | ROUTING)
    >>> read = resolve(trace.bind(params), Router(1, 3))
    >>> read.site, bool(jnp.allclose(read.value, trace[HookPoint.ROUTER][1, ..., 3], atol=1e-5))
    ('1.mlp', True)
    """

    layer: int = dataclasses.field(metadata={"static": True})
    expert: int | Int[Array, ""]

    def resolve(self, trace: Trace) -> Read:
        """The reading that this is in a trace."""
        if not trace.config.n_experts:
            raise LandedError("This model has no experts, and so no router.")
        check_index("expert", self.expert, trace.config.n_experts)
        leaves = weights_of_layer(trace, self.layer)["experts"]
        read = Vector(leaves["W_router"][self.expert], site=f"{self.layer}.mlp").resolve(trace)
        return _with_offset(read, leaves["b_router"][self.expert]) if "b_router" in leaves else read


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False, eq=False)
class Head(ShapeRepr):
    """A head's query, key or value along a vector of its own space, before rotary embedding.

    Where queries and keys pass a norm (Qwen 3, OLMo 2), its scale at each position is held fixed, as σ is. The trace
    needs `RESIDUALS`. The layer is static under ``jit``; the index may be traced.

    Args:
        vector: ``[head_dim]``: a coordinate, a singular direction, or a key that a query is compared with.

    References:
        Elhage et al., A Mathematical Framework for Transformer Circuits, 2021 (what a head's QK and OV circuits read).

    >>> from landed_jax import RESIDUALS, WRITES, ModelConfig, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> params = init_params(config, jax.random.key(0))
    >>> _, trace = forward(params, jnp.array([[1, 5, 7]]), config, record=WRITES | RESIDUALS)
    >>> resolve(trace.bind(params), Head(1, 3, "key", jnp.ones(4))).site
    '1.attn'
    """

    layer: int = dataclasses.field(metadata={"static": True})
    index: int | Int[Array, ""]
    part: Literal["query", "key", "value"] = dataclasses.field(metadata={"static": True})
    vector: Float[Array, " head_dim"]

    def resolve(self, trace: Trace) -> Read:
        """The reading that this is in a trace."""
        letters = {"query": "Q", "key": "K", "value": "V"}
        if self.part not in letters:
            raise LandedError(f"A head reads with its query, key or value weights, not with {self.part!r}.")
        config, letter = trace.config, letters[self.part]
        check_index("head", self.index, config.n_heads)
        if jnp.shape(self.vector) != (config.head_dim,):
            raise LandedError(f"A head's vector has shape [{config.head_dim}], not {list(jnp.shape(self.vector))}.")
        leaves, dtype = weights_of_layer(trace, self.layer)["attn"], trace[HookPoint.EMBEDDING].dtype
        vector = jnp.asarray(self.vector, dtype)
        row = self.index if self.part == "query" else self.index // config.group_size
        if config.qk_norm and self.part != "value":
            vector = self._through_norm(trace, leaves, row, vector)
        along = vector @ leaves[f"W_{letter}"][row].astype(dtype)
        read = Vector(along, site=f"{self.layer}.attn").resolve(trace)
        bias = leaves.get(f"b_{letter}")
        return read if bias is None else _with_offset(read, bias[row].astype(dtype) @ vector)

    def _through_norm(self, trace: Trace, leaves: Params, row: Any, vector: jax.Array) -> jax.Array:
        """``vector ⊙ γ / σ`` of the norm of queries or keys, ``[batch, position, head_dim]``."""
        letter = self.part[0]
        if f"b_{letter.upper()}" in leaves:
            raise LandedError(
                "A query or key that has a bias and passes a norm cannot be read: the offset would not "
                "be one number. Ask for the value, or give a Vector."
            )
        heard = normed_at(trace, f"{self.layer}.attn")
        weights = in_memory(leaves[f"W_{letter.upper()}"]).astype(heard.dtype)
        if trace.config.qk_norm == "head":
            raw, gamma = heard @ weights[row].T, leaves[f"{letter}_gamma"]
        else:
            raw, gamma = heard @ weights.reshape(-1, weights.shape[-1]).T, leaves[f"{letter}_width_gamma"][row]
        gamma = gamma.astype(heard.dtype) + trace.config.gain_offset
        return (vector * gamma)[None, None] / rms_sigma(raw, trace.config.norm_eps)[..., None]


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False, eq=False)
class Vector(ShapeRepr):
    """Any vector of yours (a probe, a steering vector), read at a named site.

    Args:
        vector: ``[d_model]``, or ``[batch or 1, position or 1, d_model]``; it is multiplied with the norm's output.
        site: a read site's name, such as ``"3.mlp"`` or ``"final"``; before ``"final"`` the trace needs `RESIDUALS`.

    >>> from landed_jax import RESIDUALS, WRITES, ModelConfig, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> params = init_params(config, jax.random.key(0))
    >>> _, trace = forward(params, jnp.array([[1, 5, 7]]), config, record=WRITES | RESIDUALS)
    >>> resolve(trace.bind(params), Vector(jnp.ones(8), site="1.attn")).value.shape
    (1, 3)
    """

    vector: Float[Array, "..."]
    site: str = dataclasses.field(kw_only=True, metadata={"static": True})

    def resolve(self, trace: Trace) -> Read:
        """The reading that this is in a trace."""
        normed = normed_at(trace, self.site)
        wide = jnp.asarray(self.vector, normed.dtype)
        wide = wide.reshape((1,) * (3 - wide.ndim) + wide.shape)
        if wide.ndim != 3 or not _broadcasts(wide.shape, normed.shape):
            raise LandedError(
                f"A direction has shape [d_model] or [batch, position, d_model], here {list(normed.shape)}, "
                f"not {list(jnp.shape(self.vector))}."
            )
        return Read(wide, _projection(normed, wide), offset_at(trace, self.site, wide), site=self.site)


Question = Logit | Neuron | Router | Head | Vector | Read
"""Anything that reads the stream at a norm along a vector."""
QuestionLike = Question | Target | None
"""A question, a bare token (short for `Logit`), or None for each position's most likely next token."""


@highest_precision
def resolve(trace: Trace, question: QuestionLike = None) -> Read:
    """A question as one linear reading of this trace: its vector, its value, its site.

    A `Read` is already resolved. Analyses resolve what they are asked; to ask several of them the same, resolve first.

    Args:
        trace: bound to its weights. Without logits of its own (as `forward` gives it) no logits are computed but those
            asked for: the vocabulary is only searched for each position's top token, a few positions at a time.

    Raises:
        LandedError: for tokens, neurons, heads or vectors that the model does not have, a site that was not recorded,
            or a trace without weights.

    >>> from landed_jax import ModelConfig, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> params = init_params(config, jax.random.key(0))
    >>> logits, trace = forward(params, jnp.array([[1, 5, 7]]), config)
    >>> bool(jnp.allclose(resolve(trace.bind(params), 3).value, logits[..., 3], atol=1e-5))
    True
    """
    asked = as_question(question)
    if not isinstance(asked, Read):
        return dataclasses.replace(asked.resolve(trace), provenance=bare(trace).provenance)
    shape = (trace.tokens.ids.shape[0], trace.at.shape[0])
    known = bare(trace).provenance
    if asked.value.shape != shape or (asked.provenance is not None and not asked.provenance.same(known)):
        raise LandedError(
            "This Read was resolved against another trace: resolve the question again, or give it itself."
        )
    return asked


def as_question(question: QuestionLike, against: Target | None = None) -> Question:
    """A bare token, or two, as the `Logit` that they are short for.

    Raises:
        LandedError: for a second token beside what is no bare token.

    >>> as_question(3), as_question(" Rome", " Paris").against
    (Logit(token=3, against=None, centred=False), ' Paris')
    """
    if not isinstance(question, Question):
        return Logit(question, against=against)
    if against is not None:
        raise LandedError("against= goes with a bare token: give Logit(token, against=...) instead.")
    return question


def site_of(question: Question) -> str:
    """The read site's name, known without a trace.

    >>> site_of(Neuron(3, 331, "gate")), site_of(Logit(7))
    ('3.mlp', 'final')
    """
    if isinstance(question, Neuron | Router | Head):
        return f"{question.layer}.{'attn' if isinstance(question, Head) else 'mlp'}"
    return "final" if isinstance(question, Logit) else question.site


@partial(by_layers, static=("centred",))
def _logit(
    normed: jax.Array,
    beta: jax.Array | None,
    unembedding: Unembedding,
    logits: jax.Array | None,
    ids: jax.Array | None,
    other: jax.Array | None,
    *,
    centred: bool,
) -> Read:
    def rows(ids: jax.Array) -> jax.Array:
        return unembedding.rows(ids, normed.dtype)

    if ids is None:
        ids = top_token(normed, unembedding.W_U) if logits is None else jnp.argmax(logits, axis=-1)
    vector = rows(ids)
    if other is not None:
        vector = vector - rows(other)
        other = jnp.broadcast_to(other, normed.shape[:2])
    if centred:
        vector = vector - unembedding.mean_row(normed.dtype)[None, None]
    ids = jnp.broadcast_to(ids, normed.shape[:2])
    if logits is None or unembedding.cap is not None:  # what the writes sum to is the logit before its cap
        value = jnp.vecdot(normed, vector)
    else:
        value = _pick(logits, ids)
        value = value if other is None else value - _pick(logits, other)
        value = value - jnp.mean(logits, axis=-1) if centred else value
    offset = jnp.zeros((1, 1), normed.dtype) if beta is None else jnp.vecdot(vector, beta[None, None])
    return Read(vector, value, offset, ids, other, site="final")


@jax.jit
def _projection(normed: jax.Array, vector: jax.Array) -> jax.Array:
    return jnp.vecdot(normed, vector)


def _hashable(text: Any) -> str | tuple[str, ...]:
    return text if isinstance(text, str) else tuple(text)


def _with_offset(read: Read, bias: Float[Array, ""]) -> Read:
    more = bias.astype(read.value.dtype).reshape(1, 1)
    return dataclasses.replace(read, offset=read.offset + more, value=read.value + more)


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    return shape[-1] == to[-1] and all(a in (1, b) for a, b in zip(shape, to, strict=True))


def _pick(logits: jax.Array, ids: jax.Array) -> jax.Array:
    return jnp.take_along_axis(logits, ids[..., None], axis=-1)[..., 0]
