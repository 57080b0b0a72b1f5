"""The logit lens at every read site, with the stream's own σ there and with the final norm's, and what moves it."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from landed_jax.analysis.reads._questions import QuestionLike, resolve
from landed_jax.analysis.reads._read import Read, beta_at, folded
from landed_jax.analysis.registry import analysis
from landed_jax.analysis.writes._projections import inner_products
from landed_jax.errors import LandedError
from landed_jax.nn.functions import heard, rms_sigma
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

    The stream goes through the final norm: its γ, and under LayerNorm without its mean and with the bias β.

    ``own_sigma`` divides each site's stream by its own σ, the classic logit lens: its value can move although nothing
    was written along the direction. ``final_sigma`` divides all of them by the final norm's σ: it is linear, so from
    site to site it moves by exactly the landed contribution of what was written between.

    The ``group`` axis is the embeddings, then attention and MLP of each layer in order (`groups` names it): the lens at
    a site is the sum over the groups that are written before it, and `offset`.

    Attributes:
        own_sigma, final_sigma: the lens's value.
        own_sigma_contributions: each group's part of ``own_sigma`` at each site; 0 for what is written after it.
        final_sigma_contributions: each group's landed contribution, the same at every site that hears it.
        own_sigma_error, final_sigma_error: ``|Σ contributions + offset − lens|`` at every site, in units of the value.
        offset: what β gives to the value, at all sites alike; 0 where there is none.
        value: ``[batch, position]``, the model's own number.
        closure_error: ``[batch, position]``, ``|Σ final_sigma_contributions + offset − value|``.
    """

    own_sigma: Float[Array, "site batch position"]
    final_sigma: Float[Array, "site batch position"]
    own_sigma_contributions: Float[Array, "site group batch position"]
    final_sigma_contributions: Float[Array, "group batch position"]
    own_sigma_error: Float[Array, "site batch position"]
    final_sigma_error: Float[Array, "site batch position"]
    offset: Float[Array, "#batch #position"]
    value: Float[Array, "batch position"]
    closure_error: Float[Array, "batch position"]

    @property
    def sites(self) -> tuple[str, ...]:
        """The names along the ``site`` axis."""
        return StreamOrder.of(self.config).sites

    @property
    def groups(self) -> tuple[str, ...]:
        """The names along the ``group`` axis: ``embedding, 0.attn_write, 0.mlp_write, …``"""
        before = ("embedding", "position_embedding") if self.config.learned_positions else ("embedding",)
        return (*before, *StreamOrder.of(self.config).writes)

    def groups_between(self) -> tuple[slice, ...]:
        """For each site, which of `groups` were written since the site before; in a parallel block there may be none.

        >>> from landed_jax import RESIDUALS, WRITES, ModelConfig, forward, init_params
        >>> sizes = dict(vocab_size=11, d_model=8, n_layers=1, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
        >>> config = ModelConfig(**sizes, parallel_blocks=True)
        >>> params = init_params(config, jax.random.key(0))
        >>> _, trace = forward(params, jnp.array([[1, 5, 7]]), config, record=WRITES | RESIDUALS)
        >>> lens = logit_lens(trace.bind(params), 3)
        >>> [lens.groups[between] for between in lens.groups_between()]
        [('embedding',), (), ('0.attn_write', '0.mlp_write')]
        """
        order = StreamOrder.of(self.config)
        ends = (len(self.groups) - len(order.writes) + order.writes_before).tolist()
        return tuple(slice(start, end) for start, end in zip([0, *ends], ends, strict=False))


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
    own, final = seen / sigma + read.offset[None], seen / sigma[-1][None] + read.offset[None]

    products = inner_products(trace, vector)
    layers = trace.order.interleave(products.attn, products.mlp)
    embeddings = jnp.stack(list(products.embeddings.values()))
    groups = jnp.concatenate([embeddings, layers])

    before = len(embeddings) + trace.order.writes_before
    written = (np.arange(len(groups))[None] < before[:, None])[..., None, None]
    own_parts = jnp.where(written, groups[None] / sigma[:, None], 0)
    final_parts = groups / sigma[-1][None]
    sums = jnp.cumsum(final_parts, axis=0)[before - 1] + read.offset[None]
    return LogitLens(
        own_sigma=own,
        final_sigma=final,
        own_sigma_contributions=own_parts,
        final_sigma_contributions=final_parts,
        own_sigma_error=jnp.abs(jnp.sum(own_parts, axis=1) + read.offset[None] - own),
        final_sigma_error=jnp.abs(sums - final),
        offset=read.offset,
        value=read.value,
        closure_error=jnp.abs(jnp.sum(final_parts, axis=0) + read.offset - read.value),
    )


@result
class LensTokens(Result):
    """The tokens that every read site's stream favours, most favoured first.

    σ is positive, so both variants of the lens rank tokens alike: `ids` holds for both, and only the logits differ.
    Under a norm with a bias β, which no σ divides, that is not so: there `ids` are those of ``own_sigma``.
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
    return _lens_top_tokens(bare(trace), k=k)


@partial(by_layers, static=("k",))
def _lens_top_tokens(trace: Trace, *, k: int) -> LensTokens:
    sigma, gamma, to_logits = _own_sigma(trace), trace.gamma[-1], unembedding(trace.weights(), trace.config)
    beta = beta_at(trace, "final")
    of_beta = None if beta is None else to_logits.uncapped(beta[None])[0]

    def site(read: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        stream, sigma = heard(read[0], trace.config), read[1]
        logits = to_logits.uncapped(stream * left_broadcast(gamma, stream))
        logits = logits if of_beta is None else logits / sigma[..., None] + of_beta[None, None]
        values, ids = jax.lax.top_k(logits, k)
        return values, ids, jnp.zeros_like(values) if of_beta is None else of_beta[ids]

    values, ids, offset = jax.lax.map(site, (trace.residual, sigma))
    if of_beta is not None:
        values = (values - offset) * sigma[..., None]
    return LensTokens(ids, values / sigma[..., None] + offset, values / sigma[-1][None, ..., None] + offset)


def _own_sigma(trace: Trace) -> Float[Array, "site batch position"]:
    """The scale that the final norm would give to each site's stream; the site's own where it has a norm."""
    if trace.config.input_norms:
        return trace.sigma
    whole = rms_sigma(trace.residual, trace.config.norm_eps)
    return jnp.concatenate([whole[:-1], trace.sigma[-1:]])
