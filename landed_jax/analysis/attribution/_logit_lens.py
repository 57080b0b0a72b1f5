"""The logit lens at every read site, with the stream's own σ there and with the final norm's, and what moves it."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from landed_jax.analysis.reads._questions import QuestionLike, resolve
from landed_jax.analysis.reads._read import Read, folded
from landed_jax.analysis.registry import analysis
from landed_jax.analysis.writes._projections import inner_products
from landed_jax.errors import LandedError
from landed_jax.nn.functions import rms_sigma
from landed_jax.nn.hook_points import RESIDUALS, WRITES
from landed_jax.nn.layer_programs import by_layers
from landed_jax.nn.parameters import unembedding
from landed_jax.nn.stream_order import StreamOrder
from landed_jax.numerics import left_broadcast
from landed_jax.results.result import Result, result
from landed_jax.trace import Trace, bare


@result
class LogitLens(Result):
    """A logit (or difference, or vector) as every read site's stream would have it, in two variants.

    ``own_sigma`` divides each site's stream by its own σ, the classic logit lens: its value can move although nothing
    was written along the direction. ``final_sigma`` divides all of them by the final norm's σ: it is linear, so from
    site to site it moves by exactly the landed contribution of what was written between. Both use the final norm's γ.

    The ``group`` axis is embedding, then attention and MLP of each layer (`groups` names it): group g is written just
    before site g, so the lens at site s is the sum over groups 0 to s.

    Attributes:
        own_sigma, final_sigma: the lens's value.
        own_sigma_contributions: each group's part of ``own_sigma`` at each site; 0 for what is written after it.
        final_sigma_contributions: each group's landed contribution, the same at every site that hears it.
        own_sigma_error, final_sigma_error: ``|Σ contributions − lens|`` at every site, in units of the value.
        value: ``[batch, position]``, the model's own number, less a reader's own offset.
        closure_error: ``[batch, position]``, ``|Σ final_sigma_contributions − value|``.
    """

    own_sigma: Float[Array, "site batch position"]
    final_sigma: Float[Array, "site batch position"]
    own_sigma_contributions: Float[Array, "site group batch position"]
    final_sigma_contributions: Float[Array, "group batch position"]
    own_sigma_error: Float[Array, "site batch position"]
    final_sigma_error: Float[Array, "site batch position"]
    value: Float[Array, "batch position"]
    closure_error: Float[Array, "batch position"]

    @property
    def sites(self) -> tuple[str, ...]:
        """The names along the ``site`` axis."""
        return StreamOrder.of(self.config).sites

    @property
    def groups(self) -> tuple[str, ...]:
        """The names along the ``group`` axis: ``embedding, 0.attn_write, 0.mlp_write, …``"""
        return ("embedding", *StreamOrder.of(self.config).writes)


@analysis(record=WRITES | RESIDUALS, final_only=True, bucketed=True)
def logit_lens(
    trace: Trace,
    question: QuestionLike = None,
) -> LogitLens:
    """What the stream at every read site says of a logit, and each layer's part in it.

    The question is as for `attribute`; it must be read at the final norm, whose γ the lens uses. Record
    `RESIDUALS` beside `WRITES`.

    Raises:
        LandedError: for a trace without weights or without the needed sites, a read at another site, or tokens that
            are not there.

    References:
        nostalgebraist, interpreting GPT: the logit lens, 2020 (``own_sigma``).
        Elhage et al., A Mathematical Framework for Transformer Circuits, 2021 (direct logit attribution: the
        increments of ``final_sigma``).

    >>> from landed_jax import RESIDUALS, WRITES, Logit, ModelConfig, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> params = init_params(config, jax.random.key(0))
    >>> logits, trace = forward(params, jnp.array([[1, 5, 7]]), config, record=WRITES | RESIDUALS)
    >>> lens = logit_lens(trace.bind(params), Logit(3, against=4))
    >>> lens.own_sigma.shape, lens.groups
    ((5, 1, 3), ('embedding', '0.attn_write', '0.mlp_write', '1.attn_write', '1.mlp_write'))
    >>> bool(jnp.allclose(lens.final_sigma[-1], logits[..., 3] - logits[..., 4], atol=1e-5))
    True
    """
    read = resolve(trace, question)
    if read.site != "final":
        raise LandedError(f"The lens reads every site through the final norm: this one is read at {read.site}.")
    return _logit_lens(bare(trace), read)


@by_layers
def _logit_lens(trace: Trace, read: Read) -> LogitLens:
    sigma, vector = _own_sigma(trace), folded(trace, read)
    seen = jnp.sum(trace.residual * vector[None], axis=-1)
    own, final = seen / sigma, seen / sigma[-1][None]

    products = inner_products(trace, vector)
    layers = trace.order.interleave(products.attn, products.mlp)
    groups = jnp.concatenate([products.embedding[None], layers])

    heard = jnp.tri(len(groups), dtype=bool)[..., None, None]
    own_parts = jnp.where(heard, groups[None] / sigma[:, None], 0)
    final_parts = groups / sigma[-1][None]
    value = read.value - read.offset
    return LogitLens(
        own_sigma=own,
        final_sigma=final,
        own_sigma_contributions=own_parts,
        final_sigma_contributions=final_parts,
        own_sigma_error=jnp.abs(jnp.sum(own_parts, axis=1) - own),
        final_sigma_error=jnp.abs(jnp.cumsum(final_parts, axis=0) - final),
        value=value,
        closure_error=jnp.abs(jnp.sum(final_parts, axis=0) - value),
    )


@result
class LensTokens(Result):
    """The tokens that every read site's stream favours, most favoured first.

    σ is positive, so both variants of the lens rank tokens alike: `ids` holds for both, and only the logits differ.
    """

    ids: Int[Array, "site batch position rank"]
    own_sigma: Float[Array, "site batch position rank"]
    final_sigma: Float[Array, "site batch position rank"]


@analysis(record=WRITES | RESIDUALS, bucketed=True)
def lens_top_tokens(trace: Trace, k: int = 5) -> LensTokens:
    """The `k` tokens with the largest logits in the lens at every read site, with their logits in both variants.

    Works through the sites one at a time, so one ``[batch, position, vocab]`` is alive, never one a site. Record
    `RESIDUALS` beside `WRITES`.

    Raises:
        LandedError: for a trace without weights or `RESIDUALS`, or a `k` that is not between 1 and the vocabulary.

    References:
        nostalgebraist, interpreting GPT: the logit lens, 2020.

    >>> from landed_jax import RESIDUALS, WRITES, ModelConfig, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> params = init_params(config, jax.random.key(0))
    >>> logits, trace = forward(params, jnp.array([[1, 5, 7]]), config, record=WRITES | RESIDUALS)
    >>> top = lens_top_tokens(trace.bind(params), k=2)
    >>> top.ids.shape, bool((top.ids[-1, ..., 0] == logits.argmax(-1)).all())
    ((5, 1, 3, 2), True)
    """
    if not 1 <= k <= trace.config.vocab_size:
        raise LandedError(f"k is {k}: the vocabulary holds {trace.config.vocab_size} tokens to rank.")
    return _lens_top_tokens(bare(trace), k)


@partial(jax.jit, static_argnums=1)
def _lens_top_tokens(trace: Trace, k: int) -> LensTokens:
    sigma, gamma, to_logits = _own_sigma(trace), trace.gamma[-1], unembedding(trace.weights(), trace.config)

    def site(stream: jax.Array) -> tuple[jax.Array, jax.Array]:
        values, ids = jax.lax.top_k(to_logits.uncapped(stream * left_broadcast(gamma, stream)), k)
        return values, ids

    values, ids = jax.lax.map(site, trace.residual)
    return LensTokens(ids, values / sigma[..., None], values / sigma[-1][None, ..., None])


def _own_sigma(trace: Trace) -> Float[Array, "site batch position"]:
    """The scale that the final norm would give to each site's stream; the site's own where it has a norm."""
    if trace.config.input_norms:
        return trace.sigma
    whole = rms_sigma(trace.residual, trace.config.norm_eps)
    return jnp.concatenate([whole[:-1], trace.sigma[-1:]])
