"""Every write's exact share of a logit."""

import dataclasses
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from landed_jax.analysis.amplification import Amplification, amplification
from landed_jax.analysis.directions import Reading, Target, read_direction
from landed_jax.analysis.effects import direct_effect, sigma_share
from landed_jax.analysis.per_write import PerWrite, inner_products, over_layers, squared_norms
from landed_jax.analysis.sources import split_layer
from landed_jax.analysis.table import WriteRow, WriteTable
from landed_jax.analysis.writes import Write, next_site
from landed_jax.config import ModelConfig
from landed_jax.errors import LandedError
from landed_jax.nn.sites import Site
from landed_jax.numerics import highest_precision, left_broadcast
from landed_jax.tokens import Tokens
from landed_jax.trace import Trace, site_index
from landed_jax.vocabulary import Vocabulary


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Attribution:
    """A logit (or a difference, or any direction) as a sum over writes, with its closure error.

    Attributes:
        landed: each write's landed contribution, in units of the logit.
        direct_effect: what removing each write would take from the value, σ recomputed; None if not asked for.
        sigma_share: each write's part of σ² at the final norm; None if not asked for.
        value: ``[batch, position]``, the model's own logit or difference.
        total: ``[batch, position]``, the sum of all landed contributions.
        closure_error: ``|total − value|``, in units of the logit: float arithmetic's error, and nothing else's.
        target, against: ids ``[batch, position]``; None for a direction of the user's.
        attended: ``[layer, batch, position, head]``, the column of the source token with the largest part in each
            head's contribution, where the trace recorded `SOURCES`.
        scale: the amplification at every read site.
    """

    landed: PerWrite
    direct_effect: PerWrite | None
    sigma_share: PerWrite | None
    value: Float[Array, "batch position"]
    total: Float[Array, "batch position"]
    closure_error: Float[Array, "batch position"]
    target: Int[Array, "batch position"] | None
    against: Int[Array, "batch position"] | None
    attended: Int[Array, "layer batch position head"] | None
    scale: Amplification
    tokens: Tokens
    at: Int[Array, " position"]
    config: ModelConfig = dataclasses.field(metadata={"static": True})
    vocabulary: Vocabulary | None = dataclasses.field(metadata={"static": True})

    def top(self, n: int = 20, *, position: int = -1, batch: int = 0) -> WriteTable:
        """The `n` writes with the largest |landed contribution| at one position of one prompt.

        Every head, every neuron and the embedding are ranked; biases are not. Needs concrete values, so it does
        not run under ``jit``; use ``jax.lax.top_k`` on `landed` there.

        Args:
            position: a column of the tokens (negative: from the end) that was recorded.

        Raises:
            LandedError: if the position was not recorded.
        """
        at = np.asarray(self.at)
        column = position + self.tokens.ids.shape[1] if position < 0 else position
        if column not in at:
            raise LandedError(f"Position {position} was not recorded; the trace has {at.tolist()}.")
        p = int(np.argmax(at == column))
        flat = [_flat(part, batch, p) for part in (self.landed, self.direct_effect, self.sigma_share)]
        order = np.argsort(-np.abs(flat[0]), kind="stable")[: max(n, 0)]
        return WriteTable([self._row(int(u), flat, batch, p, column) for u in order])

    def _row(self, u: int, flat: list[np.ndarray], batch: int, p: int, column: int) -> WriteRow:
        config = self.config
        if u == 0:
            write = Write("embedding", batch=batch, position=column)
        elif u <= config.n_layers * config.n_heads:
            write = Write("head", *divmod(u - 1, config.n_heads), batch=batch, position=column)
        else:
            write = Write("neuron", *divmod(u - 1 - config.n_layers * config.n_heads, config.d_ff), batch, column)
        site = site_index(config, next_site(write, config))
        attended = text = None
        if self.attended is not None and write.kind == "head":
            attended = int(self.attended[write.layer, batch, p, write.index])
            if self.vocabulary is not None:
                text = self.vocabulary.text(int(self.tokens.ids[batch, attended]))
        landed, effect, share = (float(values[u]) if values.size else None for values in flat)
        return WriteRow(
            **dataclasses.asdict(write),
            landed=landed or 0.0,
            direct_effect=effect,
            sigma_share=share,
            amplification=float(self.scale.median[site, batch, p]),
            attended=attended,
            attended_text=text,
        )


def _flat(part: PerWrite | None, batch: int, p: int) -> np.ndarray:
    """Embedding, heads, neurons of one position in a row; empty where there is nothing."""
    if part is None:
        return np.zeros(0)
    heads, neurons = np.asarray(part.heads[:, batch, p]), np.asarray(part.neurons[:, batch, p])
    return np.concatenate([np.asarray(part.embedding[batch, p])[None], heads.ravel(), neurons.ravel()])


@highest_precision
def attribute(
    trace: Trace,
    target: Target | None = None,
    against: Target | None = None,
    *,
    direction: Float[Array, "..."] | None = None,
    centred: bool = False,
    effects: bool = True,
) -> Attribution:
    """Split a logit exactly over every head, neuron, the embedding and the biases.

    The landed contribution of a write is ``⟨w ⊙ γ/σ, W_U[t]⟩`` at the final norm; all of them sum to the logit. It
    holds σ fixed, so for a bare logit read it beside the direct effect, or attribute a difference instead.

    Works under ``jit``, ``vmap`` (over prompts, over targets) and ``grad``; text targets are resolved outside.

    Args:
        trace: bound to its weights (``model.trace(...)``, or ``trace.bind(params)``).
        target: a token's text or id; one id or text a prompt ``[batch]``; or one id a recorded position
            ``[batch, position]``. By default each position's own most likely next token.
        against: a second token, likewise: the value is then the logit difference target − against.
        direction: instead of tokens, any vector ``[d_model]`` (or ``[batch, position, d_model]``) that the landed
            stream is read with.
        centred: subtract the mean over the vocabulary from the direction: the centred logit.
        effects: also the direct effects and σ shares (one more product with each output matrix).

    Raises:
        LandedError: for a trace without weights or without the needed sites, a text that is not one token, an id out
            of range, or arguments that contradict each other.

    References:
        Elhage et al., A Mathematical Framework for Transformer Circuits, 2021 (direct logit attribution).

    >>> from landed_jax import ModelConfig, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> params = init_params(config, jax.random.key(0))
    >>> logits, trace = forward(params, jnp.array([[1, 5, 7]]), config)
    >>> shares = attribute(trace.bind(params), target=3)
    >>> bool(jnp.allclose(shares.total, logits[..., 3], atol=1e-5))
    True
    """
    reading = read_direction(trace, target, against, direction, centred)
    return _attribute(dataclasses.replace(trace, logits=None), reading, effects)


@partial(jax.jit, static_argnums=2)
def _attribute(trace: Trace, reading: Reading, effects: bool) -> Attribution:
    config, sigma = trace.config, trace[Site.FINAL_SIGMA]
    vector = reading.direction * left_broadcast(trace[Site.FINAL_GAMMA], reading.direction)
    landed = inner_products(trace, vector).map(lambda product, s: product / s, sigma)
    effect = share = None
    if effects:
        with_stream = inner_products(trace, trace[Site.FINAL_RESIDUAL])
        share = with_stream.map(lambda wx, s: sigma_share(wx, s, config.d_model), sigma)
        effect = landed.map(
            lambda mine, value, wx, ww, s: direct_effect(mine, value, wx, ww, s, config.d_model, config.norm_eps),
            reading.value,
            with_stream,
            squared_norms(trace),
            sigma,
        )
    total = landed.total()
    return Attribution(
        landed=landed,
        direct_effect=effect,
        sigma_share=share,
        value=reading.value,
        total=total,
        closure_error=jnp.abs(total - reading.value),
        target=reading.target,
        against=reading.against,
        attended=_attended(trace, vector),
        scale=amplification(trace),
        tokens=trace.tokens,
        at=trace.at,
        config=config,
        vocabulary=trace.vocabulary,
    )


def _attended(trace: Trace, vector: jax.Array) -> jax.Array | None:
    """The source column with the largest part in each head's contribution, where sources were recorded."""
    if Site.PATTERN.value not in trace.sown or Site.VALUE.value not in trace.sown:
        return None

    def layer(part: dict, pattern: jax.Array, value: jax.Array) -> jax.Array:
        return jnp.argmax(jnp.abs(split_layer(part, pattern, value, vector)), axis=-1)

    return over_layers(layer, trace.weights()["layers"], trace[Site.PATTERN], trace[Site.VALUE])
