"""How far landed contributions (σ frozen) are from direct effects (σ live), over heads and over neurons."""

import math
from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from landed_jax.analysis.attribution._attribute import attribute
from landed_jax.analysis.reads._questions import QuestionLike
from landed_jax.analysis.registry import analysis
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.per_write import PerWrite
from landed_jax.nn.stream_order import StreamOrder
from landed_jax.results.result import Result, result, with_provenance
from landed_jax.trace import Trace


@result
class Agreement(Result):
    """How two numbers a component, an estimate and a measurement, agree over many components.

    It is kept as sums, so that positions and prompts can be pooled exactly afterwards.

    Attributes:
        count: how many components.
        error, size: ``Σ |estimate − measured|`` and ``Σ |measured|``, in units of the value.
        mean_estimate, mean_measured: the means.
        spread_estimate, spread_measured, covariance: sums over components of the squared deviations from the means,
            and of their product.
    """

    count: Float[Array, "*shape"]
    error: Float[Array, "*shape"]
    size: Float[Array, "*shape"]
    mean_estimate: Float[Array, "*shape"]
    mean_measured: Float[Array, "*shape"]
    spread_estimate: Float[Array, "*shape"]
    spread_measured: Float[Array, "*shape"]
    covariance: Float[Array, "*shape"]

    @property
    def nmae(self) -> Float[Array, "*shape"]:
        """``Σ |estimate − measured| / Σ |measured|``, the normalised mean absolute error: 0 is perfect.

        Both sums run over the pooled components before the division: large effects weigh more, and it is not the mean
        of the components' (or the positions') own ratios. nan where nothing was measured.
        """
        return self.error / self.size

    @property
    def correlation(self) -> Float[Array, "*shape"]:
        """Pearson's, between −1 and 1; nan where either does not vary."""
        return self.covariance / jnp.sqrt(self.spread_estimate * self.spread_measured)


@result
class FrozenSigmaAgreement(Result):
    """Landed contributions against direct effects: over the heads, over the neurons, over both together.

    Each number pools all heads (neurons) of all layers at one position; `pooled` pools positions as well.

    Attributes:
        heads, neurons, together: at each position, over all layers that the read hears.
        real: ``[batch, position]``, False on padding.
    """

    heads: Agreement
    neurons: Agreement
    together: Agreement
    real: Bool[Array, "batch position"]

    def pooled(self, where: Bool[Array, "batch position"] | None = None) -> "FrozenSigmaAgreement":
        """The same over the components of all positions at once, padding left out.

        σ differs between classes of positions by orders of magnitude, so pool within one class.

        Args:
            where: ``[batch, position]``, the positions to pool; by default every token.
        """
        found = _pooled(self, self.real if where is None else self.real & where)
        return found if self.provenance is None else with_provenance(found, self.provenance)


@jax.jit
def _pooled(found: FrozenSigmaAgreement, chosen: jax.Array) -> FrozenSigmaAgreement:
    def pool(agreement: Agreement) -> Agreement:
        return _merged(jax.tree.map(jnp.ravel, agreement), chosen.ravel())

    return FrozenSigmaAgreement(pool(found.heads), pool(found.neurons), pool(found.together), chosen)


@analysis()
def frozen_sigma_agreement(
    trace: Trace,
    question: QuestionLike = None,
) -> FrozenSigmaAgreement:
    """How far a value's landed contributions (σ frozen) are from its direct effects (σ recomputed).

    Both are of the direct path to the norm that is read, later layers as they ran. How well either predicts an
    intervention, which the literature calls faithfulness, is another question: that takes passes with ``edits=``.

    The gap of each write is exactly ``(landed − value) (σ/σ′ − 1)``, so it grows with the value: the two agree for a
    logit difference near 0, and the less the larger it is, as for a raw logit.

    The question is as for `attribute`. Writes that come after its site are left out; the embedding and the biases too.

    Raises:
        LandedError: as `attribute` does.

    References:
        Syed, Rager & Conmy, Attribution Patching Outperforms Automated Circuit Discovery, 2023 (linear estimates of
        effects held against measured ones).

    >>> from landed_jax import Logit, ModelConfig, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> params = init_params(config, jax.random.key(0))
    >>> _, trace = forward(params, jnp.array([[1, 5, 7]]), config)
    >>> found = frozen_sigma_agreement(trace.bind(params), Logit(3, against=5))
    >>> found.heads.nmae.shape, bool(found.pooled().together.correlation > 0.9)
    ((1, 3), True)
    """
    shares = attribute(trace, question)
    assert shares.direct_effect is not None
    real = trace.real
    return compare(shares.landed, shares.direct_effect, real, config=trace.config, site=shares.site)


def compare(
    estimate: PerWrite,
    measured: PerWrite,
    real: Bool[Array, "batch position"],
    *,
    config: ModelConfig,
    site: str = "final",
) -> FrozenSigmaAgreement:
    """Any two numbers a write, compared over the heads and neurons that come before a read site.

    Args:
        real: False on padding, which `FrozenSigmaAgreement.pooled` leaves out.
    """
    return _compare(estimate, measured, real, StreamOrder.of(config).layers_before(site))


@partial(jax.jit, static_argnums=3)
def _compare(estimate: PerWrite, measured: PerWrite, real: jax.Array, layers: tuple[int, int]) -> FrozenSigmaAgreement:
    heads, neurons = (
        agreement(getattr(estimate, name)[:count], getattr(measured, name)[:count], (0, 3))
        for name, count in zip(("heads", "neurons"), layers, strict=True)
    )
    return FrozenSigmaAgreement(heads, neurons, _together([heads, neurons]), real)


def agreement(estimate: Float[Array, "*shape"], measured: Float[Array, "*shape"], axes: tuple[int, ...]) -> Agreement:
    """Two numbers a component, compared over the components that lie along these axes.

    >>> found = agreement(jnp.array([[1.0, 2.0], [3.0, 3.0]]), jnp.array([[1.0, 4.0], [3.0, 3.0]]), (1,))
    >>> found.nmae.tolist()
    [0.4000000059604645, 0.0]
    """
    count = math.prod(estimate.shape[axis] for axis in axes)
    divisor = max(count, 1)  # no layer comes before the first site: the means are then 0

    def over(value: jax.Array) -> jax.Array:
        return jnp.sum(value, axis=axes)

    mean_e, mean_m = over(estimate) / divisor, over(measured) / divisor
    from_e, from_m = estimate - jnp.expand_dims(mean_e, axes), measured - jnp.expand_dims(mean_m, axes)
    return Agreement(
        count=jnp.full_like(mean_e, count),
        error=over(jnp.abs(estimate - measured)),
        size=over(jnp.abs(measured)),
        mean_estimate=mean_e,
        mean_measured=mean_m,
        spread_estimate=over(jnp.square(from_e)),
        spread_measured=over(jnp.square(from_m)),
        covariance=over(from_e * from_m),
    )


def _together(parts: Sequence[Agreement]) -> Agreement:
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *parts)
    return _merged(stacked, jnp.ones(stacked.count.shape, bool))


def _merged(parts: Agreement, kept: Bool[Array, "part *shape"]) -> Agreement:
    """The agreement over the union of components, merged along the first axis where kept.

    Deviations are from the common mean: those within a part, and of each part's mean (Chan, Golub & LeVeque 1979).
    """
    weight = jnp.where(kept, parts.count, 0)
    count = jnp.sum(weight, axis=0)

    def sums(value: jax.Array) -> jax.Array:
        return jnp.sum(jnp.where(kept, value, 0), axis=0)

    def mean(means: jax.Array) -> jax.Array:
        return sums(weight * means) / jnp.maximum(count, 1)

    mean_e, mean_m = mean(parts.mean_estimate), mean(parts.mean_measured)
    from_e, from_m = parts.mean_estimate - mean_e[None], parts.mean_measured - mean_m[None]
    return Agreement(
        count=count,
        error=sums(parts.error),
        size=sums(parts.size),
        mean_estimate=mean_e,
        mean_measured=mean_m,
        spread_estimate=sums(parts.spread_estimate + weight * jnp.square(from_e)),
        spread_measured=sums(parts.spread_measured + weight * jnp.square(from_m)),
        covariance=sums(parts.covariance + weight * from_e * from_m),
    )
