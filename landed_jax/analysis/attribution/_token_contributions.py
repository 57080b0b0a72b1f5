"""A token by token picture: what each position's heads took from each earlier token, as the read hears it."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from landed_jax.analysis.reads._questions import QuestionLike, resolve
from landed_jax.analysis.reads._read import Read, folded, sigma_at
from landed_jax.analysis.registry import analysis
from landed_jax.analysis.writes._projections import from_layers
from landed_jax.nn.hook_points import SOURCES, WRITES, HookPoint
from landed_jax.nn.layer_programs import by_layers
from landed_jax.nn.layer_writes import LayerWrites
from landed_jax.results.result import Result, result
from landed_jax.trace import Trace, bare


@result
class TokenContributions(Result):
    """Token-to-token contributions: all heads' landed contributions by the token they attended to.

    Signed, in units of the read's value. Sources that are padding, and all of a padding position's row, are exactly 0.

    Attributes:
        layers: each layer's heads summed.
        heads: the heads' landed totals, from their own outputs and not from the split.
        closure_error: ``|Σ_source layers − heads|``, in units of the value.
    """

    layers: Float[Array, "layer batch position source"]
    heads: Float[Array, "layer batch position"]
    closure_error: Float[Array, "layer batch position"]

    @property
    def overall(self) -> Float[Array, "batch position source"]:
        """All layers' heads summed."""
        return jnp.sum(self.layers, axis=-4)  # from the right, as vmap adds axes on the left

    @property
    def overall_closure_error(self) -> Float[Array, "batch position"]:
        """``|Σ_source overall − Σ_layer heads|``, in units of the value."""
        return jnp.abs(jnp.sum(self.overall, axis=-1) - jnp.sum(self.heads, axis=-3))


@analysis(record=WRITES | SOURCES)
def token_contributions(
    trace: Trace,
    question: QuestionLike = None,
) -> TokenContributions:
    """Which tokens the heads at each position brought the value from: ``Σ_h ⟨w_h[k] ⊙ γ/σ, u⟩``, w_h[k] being
    the part of head h's write that it took from token k.

    What a source token holds may itself have come there from other tokens in earlier layers; the embedding's and the
    neurons' contributions are no part of the picture. The question is as for `attribute`; layers after its
    site are 0. Record `SOURCES` beside `WRITES`.

    An edit of the pattern or the values is in the picture; one of a head's output z breaks the sum, and shows in the
    closure error.

    Raises:
        LandedError: for a trace without weights or the needed sites, and what `attribute` refuses.

    References:
        Kobayashi et al., Attention is Not Only a Weight, 2020; Ferrando et al., Measuring the Mixing of Contextual
        Information in the Transformer, 2022 (token-to-token contributions by norms; here by what a read hears).

    >>> from landed_jax import SOURCES, WRITES, ModelConfig, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> params = init_params(config, jax.random.key(0))
    >>> _, trace = forward(params, jnp.array([[1, 5, 7]]), config, record=WRITES | SOURCES)
    >>> picture = token_contributions(trace.bind(params), 3)
    >>> picture.layers.shape, bool(picture.closure_error.max() < 1e-5)
    ((2, 1, 3, 3), True)
    """
    read = resolve(trace, question)
    return _token_contributions(bare(trace), read)


@by_layers
def _token_contributions(trace: Trace, read: Read) -> TokenContributions:
    vector = folded(trace, read)
    sigma = sigma_at(trace, read.site)
    mask = trace.tokens.mask
    real = jnp.take(mask, trace.at, axis=-1)

    def layer(writes: LayerWrites, pattern: jax.Array, value: jax.Array) -> tuple[jax.Array, jax.Array]:
        split = jnp.sum(writes.by_source(vector, pattern, value), axis=2)
        return split, jnp.sum(writes.inner_products(vector).heads, axis=-1)

    before = (jnp.arange(trace.config.n_layers) < trace.order.layers_before(read.site)[0])[:, None, None]
    stacks = trace[HookPoint.PATTERN], trace[HookPoint.VALUE]
    split, heads = from_layers(trace, layer, *stacks, in_turn=True)
    heard = before & real[None]
    heads = jnp.where(heard, heads, 0) / sigma[None]
    # A padding query attends to itself, so that its softmax is not empty: that is no contribution of a token.
    split = jnp.where(heard[..., None] & mask[None, :, None, :], split, 0) / sigma[None, ..., None]
    return TokenContributions(split, heads, jnp.abs(jnp.sum(split, axis=-1) - heads))
