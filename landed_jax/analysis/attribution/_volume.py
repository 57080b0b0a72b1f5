"""Writes that act by volume rather than content: they change σ, which divides all others, and say little themselves."""

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from landed_jax.analysis.attribution._attribute import attribute
from landed_jax.analysis.attribution._effects import sigma_share
from landed_jax.analysis.attribution._log_probability import vocabulary_chunk
from landed_jax.analysis.attribution._result import experts_at, flat_writes, recorded_token, write_at
from landed_jax.analysis.reads._questions import Logit, Question, QuestionLike, resolve
from landed_jax.analysis.reads._read import gamma_at, heard_at, sigma_at
from landed_jax.analysis.registry import analysis
from landed_jax.analysis.writes._projections import from_layers, inner_products, of_embeddings, only_before
from landed_jax.analysis.writes._write import Write
from landed_jax.errors import LandedError
from landed_jax.nn.functions import heard
from landed_jax.nn.hook_points import RESIDUALS, WRITES
from landed_jax.nn.layer_programs import by_layers
from landed_jax.nn.layer_writes import LayerWrites
from landed_jax.nn.parameters import unembedding
from landed_jax.nn.per_write import PerWrite
from landed_jax.nn.unembedding import Unembedding
from landed_jax.processes import gathered
from landed_jax.results.result import Result, result
from landed_jax.trace import Trace, bare

# Numbers of one chunk of the unembedding, made wide: 16 MiB in float32.
_CHUNK_NUMBERS = 2**22


@result
class SigmaShares(Result):
    """Every write's part of σ² as norms read it.

    Attributes:
        shares: ``⟨w, x_s⟩ / (d σ_s²)`` of every write (under LayerNorm of x without its mean); with a leading ``site``
            axis where all sites were asked for.
    """

    shares: PerWrite


@analysis(record=WRITES | RESIDUALS, bucketed=True)
def sigma_shares(trace: Trace, *, site: str | None = None) -> SigmaShares:
    """``⟨w, x_s⟩ / (d σ_s²)``: every write's part of σ² as a norm reads it.

    Over the writes before a site the shares sum to ``1 − ε/σ_s²``, exactly. A share is negative where a write shrinks
    the stream. Writes that come after the site have share 0, and so has every write where a block reads the stream
    itself (OLMo 2): there is no σ to share.

    Args:
        trace: bound to its weights; sites before the final norm need `RESIDUALS`.
        site: a read site's name. By default every site: then each array has a leading site axis. That is ``2L+1``
            times as much memory.

    Raises:
        LandedError: for a site that is not there, a trace without weights or without the needed sites.

    References:
        Equation: σ_s² = mean(x_s²) + ε with x_s = Σ w, so Σ_w ⟨w, x_s⟩ / d = σ_s² − ε; likewise without means.

    >>> from landed_jax import RESIDUALS, WRITES, ModelConfig, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> params = init_params(config, jax.random.key(0))
    >>> _, trace = forward(params, jnp.array([[1, 5, 7]]), config, record=WRITES | RESIDUALS)
    >>> shares = sigma_shares(trace.bind(params)).shares
    >>> shares.heads.shape
    (5, 2, 1, 3, 4)
    >>> bool(jnp.allclose(shares.total(), 1 - config.norm_eps / trace.sigma**2, atol=1e-5))
    True
    """
    sites = trace.order.sites if site is None else (site,)
    shares = _shares(bare(trace), sites=sites)
    return SigmaShares(shares if site is None else jax.tree.map(lambda share: share[0], shares))


@partial(by_layers, static=("sites",))
def _shares(trace: Trace, *, sites: tuple[str, ...]) -> PerWrite:
    config = trace.config
    x = jnp.stack([heard_at(trace, name) for name in sites])
    products = jax.vmap(inner_products, in_axes=(None, 0))(trace, x)

    def at(index: int, name: str) -> PerWrite:
        mine = only_before(jax.tree.map(lambda product: product[index], products), config, name)
        shares = mine.map(lambda product, s: sigma_share(product, s, config.d_model), sigma_at(trace, name))
        return shares if config.has_norm(name) else jax.tree.map(jnp.zeros_like, shares)

    return jax.tree.map(lambda *shares: jnp.stack(shares), *(at(index, name) for index, name in enumerate(sites)))


@result
class WeakDirections(Result):
    """Singular directions of the unembedding, its mean over the vocabulary taken off, weakest first.

    What lies in the weakest directions of the landed stream hardly moves any logit against any other.

    Equal singular values share a space in which any basis is as right as another. So a cut between equal ones is
    widened to the end of them, and the space of the weak directions does not depend on the solver's basis. Where all
    singular values are equal, all directions are weak and `mass` is 1.

    Attributes:
        singular_values: ascending.
        directions: unit vectors, in the space of the norm's output; row k belongs to singular value k.
        asked: how many of them, from the first, are weak by the fraction that was asked for.
    """

    singular_values: Float[Array, " d_model"]
    directions: Float[Array, "d_model d_model"]
    asked: int = dataclasses.field(metadata={"static": True})

    @property
    def count(self) -> Int[Array, ""]:
        """How many directions, from the first, are weak: `asked`, or more, to the end of equal singular values.

        Neighbours whose squares differ by at most ``8 ε`` of the largest are equal, ε being the float type's resolution
        at 1: so far may the products and the eigendecomposition move them.
        """
        squares = jnp.square(self.singular_values)
        bar = 8 * jnp.finfo(squares.dtype).eps * jnp.max(squares)
        equal = jnp.diff(squares[self.asked - 1 :]) <= bar
        return self.asked + jnp.sum(jnp.cumprod(equal, dtype=jnp.int32))

    @property
    def mass(self) -> Float[Array, ""]:
        """The weak directions' part of the sum of squared singular values."""
        squares = jnp.square(self.singular_values)
        weak = jnp.arange(len(squares)) < self.count
        return jnp.sum(jnp.where(weak, squares, 0)) / jnp.sum(squares)


@analysis()
def weak_directions(trace: Trace, fraction: float = 0.02) -> WeakDirections:
    """The directions of the landed stream that the unembedding hardly reads.

    From the eigenvectors of the ``d_model × d_model`` Gram matrix of ``W_U`` less its mean row, accumulated in the
    trace's float type, a chunk of the vocabulary at a time. In float32 singular values below about 1e-3 of the
    largest are rounding noise: their directions together are right, the order among them is not, and they count as
    equal. A vocabulary of V tokens leaves at least d_model − V + 1 directions that it does not read at all.

    Depends on the weights alone: make it once a model, and hand it to `volume`. It costs vocab · d_model² products
    and one eigendecomposition.

    Args:
        trace: bound to its weights.
        fraction: the part of the d_model directions that counts as weak, from above 0 to 1; at least one does, and
            where it would cut between equal singular values all of them do (`WeakDirections.count`).

    Raises:
        LandedError: for a trace without weights, or a fraction out of range.

    References:
        Stolfo et al., Confidence Regulation Neurons in Language Models, 2024, arXiv:2406.16254 (entropy neurons write
        into the unembedding's effective null space).

    >>> from landed_jax import ModelConfig, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> params = init_params(config, jax.random.key(0))
    >>> _, trace = forward(params, jnp.array([[1, 5, 7]]), config)
    >>> weak = weak_directions(trace.bind(params), fraction=0.25)
    >>> int(weak.count), bool(weak.mass < 0.25)
    (2, True)
    """
    if not 0 < fraction <= 1:
        raise LandedError(f"The fraction of weak directions is above 0 and at most 1, not {fraction}.")
    asked = max(round(fraction * trace.config.d_model), 1)
    values, directions = _singular(unembedding(trace.weights(), trace.config), gamma_at(trace, "final"))
    return WeakDirections(values, directions, asked)


@jax.jit
def _singular(unembedding: Unembedding, like: jax.Array) -> tuple[jax.Array, jax.Array]:
    W_U = unembedding.W_U
    vocab, d_model = W_U.shape
    mean = jnp.mean(W_U, axis=0, dtype=like.dtype)
    chunk = min(max(_CHUNK_NUMBERS // d_model, 1), vocab)

    def add(gram: jax.Array, start: jax.Array) -> tuple[jax.Array, None]:
        rows, fresh = vocabulary_chunk(W_U, start, chunk)
        rows = jnp.where(fresh[:, None], rows.astype(like.dtype) - mean[None], 0)
        return gram + rows.T @ rows, None

    gram, _ = jax.lax.scan(add, jnp.zeros((d_model, d_model), like.dtype), jnp.arange(0, vocab, chunk))
    squares, vectors = jnp.linalg.eigh(gram)
    return unembedding.scaled(jnp.sqrt(jnp.maximum(squares, 0))), vectors.T


@dataclass(frozen=True)
class VolumeRow(Write):
    """A head or neuron with its numbers of `Volume`, at one position."""

    score: float = 0.0
    mediated: float = 0.0
    landed: float = 0.0
    ratio: float = 0.0
    weak: float = 0.0
    sigma_share: float = 0.0


@result
class Volume(Result):
    """How much every write acts by scale rather than content.

    Attributes:
        mediated: direct effect less landed contribution, in units of the value: what the write does through σ.
        landed: landed contribution, likewise: what it says itself.
        ratio: ``|mediated| / (|mediated| + |landed|)``, from 0 (content alone) to 1 (volume alone); 0 for a write that
            does nothing.
        weak: the part of the landed write's squared length ``|w ⊙ γ|²`` in the weak directions, from 0 to 1; a random
            direction has ``count / d_model`` (`WeakDirections.count`). A neuron's does not depend on the prompt: its
            batch and position axes have size 1, and so have the biases'.
        score: ``|mediated| · ratio · weak``, in units of the value: large only for what moves the value through σ,
            with little content, from where the unembedding hardly reads.
        sigma_share: the part of the final σ².
        experts: the experts that each position chose, as in `Attribution`.
    """

    mediated: PerWrite
    landed: PerWrite
    ratio: PerWrite
    weak: PerWrite
    score: PerWrite
    sigma_share: PerWrite
    experts: Int[Array, "layer batch position slot"] | None

    def top(self, n: int = 20, *, position: int | None = None, batch: int = 0) -> list[VolumeRow]:
        """The `n` heads and neurons with the largest score at one position of one prompt.

        Needs concrete values, so it does not run under ``jit``; use ``jax.lax.top_k`` on `score` there.

        Args:
            position: a recorded column of the tokens (negative: from the end); by default the prompt's last recorded
                token.

        Raises:
            LandedError: if the position was not recorded or is padding, or the prompt is not there.
        """
        here = gathered(self)
        p, column = recorded_token(here.known, position, batch)
        weak = jax.tree.map(lambda part, like: jnp.broadcast_to(part, like.shape), here.weak, here.score)
        names = ("score", "mediated", "landed", "ratio", "sigma_share")
        flat = {name: flat_writes(getattr(here, name), batch, p) for name in names}
        flat["weak"] = flat_writes(weak, batch, p)
        first = len(here.score.embeddings)  # which are not ranked
        experts = experts_at(here.experts, batch, p)
        order = first + np.argsort(-flat["score"][first:], kind="stable")[: max(n, 0)]

        def row(u: int) -> VolumeRow:
            numbers: dict[str, Any] = {name: float(values[u]) for name, values in flat.items()}
            return VolumeRow(**dataclasses.asdict(write_at(u, self.config, batch, column, experts)), **numbers)

        return [row(int(u)) for u in order]


@analysis(final_only=True)
def volume(
    trace: Trace,
    question: QuestionLike = None,
    *,
    directions: WeakDirections | None = None,
) -> Volume:
    """Scores for writes that act by scale: entropy (confidence) neurons, and whatever else games σ.

    A bare token is read as its centred logit: what a write adds to all logits alike changes no probability and counts
    as no content.

    Args:
        trace: bound to its weights.
        question: as for `attribute`, read at the final norm; but a bare token, or none, is short for its *centred*
            `Logit`.
        directions: which directions count as weak, and how many, from `weak_directions`; by default its own default,
            computed in every call.

    Raises:
        LandedError: for a trace without weights or without the needed sites, a read at another norm, or arguments
            that contradict each other.

    References:
        Stolfo et al., Confidence Regulation Neurons in Language Models, 2024, arXiv:2406.16254. Gurnee et al.,
        Universal Neurons in GPT2 Language Models, 2024, arXiv:2401.12181 (entropy neurons: large norm, an even effect
        on all logits, action through the final norm's scale).

    >>> from landed_jax import ModelConfig, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> params = init_params(config, jax.random.key(0))
    >>> _, trace = forward(params, jnp.array([[1, 5, 7]]), config)
    >>> found = volume(trace.bind(params), 3)
    >>> row = found.top(1)[0]
    >>> row.kind, 0 <= row.weak <= 1, 0 <= row.ratio <= 1
    ('head', True, True)
    """
    read = resolve(trace, question if isinstance(question, Question) else Logit(question, centred=True))
    if read.site != "final":
        raise LandedError(
            f"The unembedding's weak directions are those of the final norm; this read is at {read.site}."
        )
    shares = attribute(trace, read)
    assert shares.sigma_share is not None
    mediated, landed = shares.sigma_mediated, shares.landed
    weak = _weak_parts(bare(trace), directions or weak_directions(trace))
    ratio, score = _scores(mediated, landed, weak)
    return Volume(
        mediated=mediated,
        landed=landed,
        ratio=ratio,
        weak=weak,
        score=score,
        sigma_share=shares.sigma_share,
        experts=shares.experts,
    )


@jax.jit
def _scores(mediated: PerWrite, landed: PerWrite, weak: PerWrite) -> tuple[PerWrite, PerWrite]:
    ratio = mediated.map(_part, landed)
    return ratio, mediated.map(lambda m, r, w: jnp.abs(m) * r * w, ratio, weak)


def _part(mine: jax.Array, other: jax.Array) -> jax.Array:
    """``|mine| / (|mine| + |other|)``, 0 where both are."""
    both = jnp.abs(mine) + jnp.abs(other)
    return jnp.abs(mine) / jnp.where(both > 0, both, 1)


@by_layers
def _weak_parts(trace: Trace, directions: WeakDirections) -> PerWrite:
    """The part of every landed write's squared length that lies in the weak directions."""
    gamma = gamma_at(trace, "final")

    def landed(written: jax.Array) -> jax.Array:
        return heard(written, trace.config) * gamma[None, None]

    count, asked, rows = directions.count, directions.asked, directions.directions.astype(gamma.dtype)

    def part_of(inside: jax.Array, whole: jax.Array) -> jax.Array:
        # Two products that round apart: the part is never above the whole.
        return jnp.clip(inside / jnp.where(whole > 0, whole, 1), 0, 1)

    def along(weak: Float[Array, "direction d_model"]) -> PerWrite:
        # No head's or neuron's write is made as a vector.
        layers = from_layers(trace, lambda writes: writes.squares_along(weak * gamma[None]), heard=True)
        inside = of_embeddings(trace, lambda written: jnp.sum(jnp.square(landed(written) @ weak.T), axis=-1))
        return dataclasses.replace(layers, **inside)

    def whole(writes: LayerWrites) -> PerWrite:
        return jax.tree.map(lambda squares: squares[0], writes.weighted_squares(jnp.square(gamma)[None]))

    # Shapes are known before the count is: as many rows as asked for, or all, with those beyond the count set to 0.
    weak = jnp.where(jnp.arange(len(rows))[:, None] < count, rows, 0)
    inside = jax.lax.cond(count > asked, lambda: along(weak), lambda: along(rows[:asked]))
    embeddings = of_embeddings(trace, lambda written: jnp.sum(jnp.square(landed(written)), axis=-1))
    return inside.map(part_of, dataclasses.replace(from_layers(trace, whole, heard=True), **embeddings))
