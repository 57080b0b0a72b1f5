"""How γ/σ is spread over each class of positions, by three definitions that must not be confused."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from landed_jax.analysis.registry import analysis
from landed_jax.analysis.scale._position_classes import Delimiters, position_classes
from landed_jax.analysis.scale._spread import PERCENTILES, Spread, spread
from landed_jax.analysis.scale._write_amplification import DEFINITIONS, embedding_gains, layer_gains
from landed_jax.analysis.writes._projections import from_layers
from landed_jax.errors import LandedError
from landed_jax.nn.functions import heard
from landed_jax.nn.hook_points import HookPoint
from landed_jax.nn.layer_programs import by_layers
from landed_jax.nn.layer_writes import LayerWrites
from landed_jax.results.result import Result, result, with_provenance
from landed_jax.trace import Trace, bare


@result
class AmplificationStatistics(Result):
    """The spread of the amplification, for each read site and class of positions, by three definitions.

    Axes ``[site, class]``: sites in the order of `site_names`, classes in that of `POSITION_CLASSES`. Every site is the
    next landing of one kind of component: ``0.attn`` of the embeddings, ``l.mlp`` of layer l's heads, and the site
    after of its neurons. In parallel blocks heads and neurons next land together, at the next layer's attention or
    ``final``, and are pooled; ``l.mlp`` is then no component's next landing, and has no samples of the last two.

    Attributes:
        per_coordinate: the samples are ``|γ_k|/σ`` of each coordinate at each position. What the norm does, whatever
            is written: all coordinates count alike, also those that nothing is written to.
        write_weighted: one sample for each component and position, the mean of ``|γ_k|/σ`` with the weights
            ``w_k² / ‖w‖²``. How much the coordinates that a component uses are magnified.
        norm_ratio: one sample for each component and position, ``‖w ⊙ γ/σ‖ / ‖w‖``. How much longer or shorter a
            component's write is when it is heard. Few strongly magnified coordinates weigh more here.

    In the last two, components that write nothing at a position (a neuron with activation 0, a head whose output
    weights were set to 0) are no samples, and neither are biases.
    """

    per_coordinate: Spread
    write_weighted: Spread
    norm_ratio: Spread

    def of(self, kind: Literal["embedding", "heads", "neurons"]) -> "AmplificationStatistics":
        """The statistics at the next landings of one kind: ``[class]`` for the embeddings, else ``[layer, class]``.

        Raises:
            LandedError: for another kind, and for heads or neurons of parallel blocks, which are pooled.
        """
        order = self.known.order
        places: dict[str, Any] = {"embedding": 0, "heads": order.next_attn, "neurons": order.next_mlp}
        if kind not in places:
            raise LandedError(f"{kind!r} is not a kind of component: {', '.join(places)}.")
        if order.parallel and kind != "embedding":
            raise LandedError("In parallel blocks heads and neurons land at the same norms: their samples are pooled.")
        place = places[kind]

        def taken(part: Spread) -> Spread:
            # From the right, as vmap adds axes on the left.
            others = (part.minimum, part.maximum, part.above_2, part.above_10, part.count)
            minimum, maximum, above_2, above_10, count = (leaf[..., place, :] for leaf in others)
            return Spread(minimum, part.quantiles[..., place, :, :], maximum, above_2, above_10, count)

        parts = map(taken, (self.per_coordinate, self.write_weighted, self.norm_ratio))
        found = AmplificationStatistics(*parts)
        return found if self.provenance is None else with_provenance(found, self.provenance)


@analysis(example=lambda trace: {"delimiters": [3]})
def amplification_statistics(trace: Trace, *, delimiters: Delimiters | None = None) -> AmplificationStatistics:
    """The spread of |γ|/σ over each class of positions, by three named definitions.

    All recorded positions of all prompts are samples, each in its own class; padding is none. The number of samples
    stands beside each statistic. They are not independent: positions of one prompt, and coordinates of one position
    (which share their σ), go together.

    Args:
        trace: bound to its weights.
        delimiters: as for `position_classes`.

    Raises:
        LandedError: for a trace without weights or the needed sites, and what `position_classes` refuses.

    References:
        Sun et al., Massive Activations in Large Language Models, 2024 (why first tokens and delimiters stand apart:
        where the stream is massive, σ is large and everything else is heard faintly).

    >>> from landed_jax import ModelConfig, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> params = init_params(config, jax.random.key(0))
    >>> _, trace = forward(params, jnp.array([[1, 5, 7]]), config)
    >>> found = amplification_statistics(trace.bind(params), delimiters=[7])
    >>> found.norm_ratio.quantiles.shape, found.of("heads").norm_ratio.count[0].tolist()
    ((5, 3, 5), [4, 4, 4])
    """
    return _statistics(bare(trace), position_classes(trace, delimiters=delimiters).members)


@by_layers
def _statistics(trace: Trace, classes: Bool[Array, "class batch position"]) -> AmplificationStatistics:
    def per_coordinate(scale: tuple[jax.Array, jax.Array]) -> Spread:
        gamma, sigma = scale
        samples = jnp.abs(gamma)[None, None] / sigma[..., None]
        return spread(samples, jnp.broadcast_to(classes[..., None], (len(classes), *samples.shape)))

    def both(samples: Float[Array, "definition *sample"], written: Bool[Array, "*sample"]) -> Spread:
        chosen = classes.reshape(*classes.shape, *(1,) * (written.ndim - 2)) & written[None]
        return jax.vmap(spread, in_axes=(0, None))(samples, chosen)

    def heads(layer: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        gains, z, able, sigma = layer
        return gains / sigma[None, ..., None], jnp.any(z != 0, axis=-1) & able

    def neurons(layer: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        gains, a, able, sigma = layer
        return gains / sigma[None, ..., None], (a != 0) & able

    def pooled(layer: tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]) -> Spread:
        parts = zip(heads(layer[0]), neurons(layer[1]), strict=True)
        return both(*(jnp.concatenate(part, axis=-1) for part in parts))

    def no_samples(count: jax.Array) -> Spread:
        return both(count, jnp.zeros(count.shape[1:], bool))

    sigma, gains, order = trace.sigma, layer_gains(trace), trace.order
    able = from_layers(trace, LayerWrites.weights_not_zero, heard=True)
    # Layer by layer, so that the samples of all layers together are never alive.
    own_heads = gains.heads, trace[HookPoint.HEAD], able.heads, sigma[order.next_attn]
    own_neurons = gains.neurons, trace[HookPoint.NEURON], able.neurons, sigma[order.next_mlp]
    if order.parallel:
        of_neurons = jax.lax.map(pooled, (own_heads, own_neurons))
        of_heads = jax.lax.map(no_samples, jnp.zeros((order.n_layers, len(DEFINITIONS), *sigma.shape[1:]), sigma.dtype))
    else:
        of_heads = jax.lax.map(lambda layer: both(*heads(layer)), own_heads)
        of_neurons = jax.lax.map(lambda layer: both(*neurons(layer)), own_neurons)
    own_gains = jnp.stack(list(embedding_gains(trace).values()), axis=-1)
    there = [jnp.any(heard(written, trace.config) != 0, axis=-1) for written in trace.embeddings.values()]
    first = both(own_gains / sigma[:1, ..., None], jnp.stack(there, axis=-1))

    def by_site(first: jax.Array, heads: jax.Array, neurons: jax.Array) -> jax.Array:
        return jnp.concatenate([first[None], order.interleave(heads, neurons)])

    spreads = jax.tree.map(by_site, first, of_heads, of_neurons)  # [site, definition, class]
    weighted, ratio = (jax.tree.map(lambda leaf, i=i: leaf[:, i], spreads) for i in range(2))
    return AmplificationStatistics(jax.lax.map(per_coordinate, (trace.gamma, sigma)), weighted, ratio)


@analysis(example=lambda trace: {"delimiters": [3]})
def amplification_by_coordinate(trace: Trace, *, delimiters: Delimiters | None = None) -> Spread:
    """The spread of ``|γ_k|/σ`` over each class of positions, for every read site and coordinate.

    The definition ``per_coordinate``, coordinate by coordinate: samples are positions. γ is the same at all of them, so
    what is spread is 1/σ, times the coordinate's |γ|.

    Args:
        trace: any trace with σ and γ; it need not be bound if `delimiters` is given.
        delimiters: as for `position_classes`.

    Returns:
        A `Spread` with the axes ``[site, class, d_model]``.

    Raises:
        LandedError: for a trace without the needed sites, and what `position_classes` refuses.

    >>> from landed_jax import ModelConfig, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> _, trace = forward(init_params(config, jax.random.key(0)), jnp.array([[1, 5, 7]]), config)
    >>> amplification_by_coordinate(trace, delimiters=[7]).maximum.shape
    (5, 3, 8)
    """
    classes = position_classes(trace, delimiters=delimiters).members

    def site(scale: tuple[jax.Array, jax.Array]) -> Spread:
        gamma, sigma = jnp.abs(scale[0]), scale[1]
        shared = spread(1 / sigma, classes)
        samples = gamma[None, None] / sigma[..., None]
        count = jnp.broadcast_to(shared.count[:, None], (len(classes), len(gamma)))

        def scaled(statistic: Float[Array, " class"]) -> Float[Array, "class d_model"]:
            # Where there is no sample a NaN would also be the slope.
            known = jnp.where(shared.count > 0, statistic, 0)[:, None] * gamma[None]
            return jnp.where(count > 0, known, jnp.nan)

        def above(bound: float) -> Float[Array, "class d_model"]:
            higher = jnp.sum(classes[..., None] & (samples > bound)[None], axis=(1, 2), dtype=count.dtype)
            part = higher.astype(sigma.dtype) / jnp.maximum(count, 1).astype(sigma.dtype)
            return jnp.where(count > 0, part, jnp.nan)

        quantiles = jnp.stack([scaled(shared.quantiles[:, i]) for i in range(len(PERCENTILES))], axis=-1)
        return Spread(scaled(shared.minimum), quantiles, scaled(shared.maximum), above(2), above(10), count)

    return jax.lax.map(site, (trace.gamma, trace.sigma))
