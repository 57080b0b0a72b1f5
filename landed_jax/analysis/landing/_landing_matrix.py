"""Every write at every read site after it: how large it is as each of them hears it, and which way it points there."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from landed_jax.analysis.reads._questions import Vector
from landed_jax.analysis.registry import analysis
from landed_jax.analysis.writes._projections import from_layers, inner_products, of_embeddings
from landed_jax.analysis.writes._write import EMBEDDING_FIELDS, Write, describe, neuron_index, next_site
from landed_jax.errors import LandedError
from landed_jax.nn.functions import heard, scale_stream
from landed_jax.nn.hook_points import NORMED, RESIDUALS
from landed_jax.nn.layer_programs import by_layers
from landed_jax.nn.layer_writes import LayerWrites
from landed_jax.nn.per_write import PerWrite
from landed_jax.nn.stream_order import StreamOrder
from landed_jax.numerics import left_broadcast, safe_root
from landed_jax.results.result import Result, result
from landed_jax.trace import Trace, bare

_KINDS = {
    **EMBEDDING_FIELDS,
    "head": "heads",
    "neuron": "neurons",
    "attn_bias": "attn_bias",
    "mlp_bias": "mlp_bias",
}


@result
class Landing(Result):
    """One write at one read site."""

    norm: Float[Array, ""]
    projection: Float[Array, ""] | None
    site: str = dataclasses.field(metadata={"static": True})


@result
class Landings(Result):
    """One write at every read site after it; `sites` names them in order."""

    norm: Float[Array, " site"]
    projection: Float[Array, " site"] | None
    write: Write = dataclasses.field(metadata={"static": True})
    sites: tuple[str, ...] = dataclasses.field(metadata={"static": True})

    @property
    def next(self) -> Landing:
        """The next landing: at the first norm that reads the write."""
        return self._at(0)

    @property
    def final(self) -> Landing:
        """The final landing: at the norm before the unembedding."""
        return self._at(-1)

    def _at(self, i: int) -> Landing:
        projection = None if self.projection is None else self.projection[i]
        return Landing(self.norm[i], projection, self.sites[i], provenance=self.provenance)


@result
class LandingMatrix(Result):
    """How every write lands at every read site after it.

    Attributes:
        norm: ``‖w ⊙ γ_s/σ_s‖``, the landed write's length (under LayerNorm of w without its mean).
        projection: ``⟨w ⊙ γ_s/σ_s, vector⟩``; None without a vector.
        value: ``[site, batch, position]``, ``⟨N_s(x) − β_s, vector⟩``, which the projections sum to, N_s being the
            site's norm and β_s LayerNorm's bias; None without a vector, or where the trace recorded neither
            `RESIDUALS` nor `NORMED`.
        closure_error: ``[site, batch, position]``, ``|Σ projections − value|`` in units of the value; None likewise.
        experts: the experts that each position chose, in a model that has them; the axis ``neuron`` has the neurons of
            the first, then those of the next.
    """

    norm: PerWrite
    projection: PerWrite | None
    value: Float[Array, "site batch position"] | None
    closure_error: Float[Array, "site batch position"] | None
    experts: Int[Array, "layer batch position slot"] | None = None

    @property
    def sites(self) -> tuple[str, ...]:
        """The names of the read sites, in the order of the leading axis."""
        return StreamOrder.of(self.config).sites

    @property
    def after_attn(self) -> Bool[Array, "site layer"]:
        """Whether each site comes after each layer's heads and attention bias."""
        return jnp.asarray(StreamOrder.of(self.config).heard()[0])

    @property
    def after_mlp(self) -> Bool[Array, "site layer"]:
        """Whether each site comes after each layer's neurons and MLP bias."""
        return jnp.asarray(StreamOrder.of(self.config).heard()[1])

    def of(self, write: Write) -> Landings:
        """One write's numbers at every read site after it.

        Raises:
            LandedError: for a write that is not there or stands on padding, a neuron of an expert that was not chosen,
                or a write split by source token (`land` gives those).
        """
        first = StreamOrder.of(self.config).index(next_site(write, self.config))
        if write.source is not None:
            raise LandedError(f"{describe(write)} of one source token is not in the landing matrix: land() gives it.")
        column = self.known.recorded(write.position, write.batch)

        def pick(values: PerWrite) -> jax.Array:
            numbers = getattr(values, _KINDS[write.kind])[first:]
            numbers = numbers if write.layer is None else numbers[:, write.layer]
            numbers = numbers[:, write.batch, column]
            if write.kind == "neuron":
                ids = None if self.experts is None else self.experts[write.layer, write.batch, column]
                return numbers[:, neuron_index(write, ids, self.config)]
            return numbers[:, write.index] if write.kind == "head" else numbers

        projection = None if self.projection is None else pick(self.projection)
        return Landings(pick(self.norm), projection, write, self.sites[first:], provenance=self.provenance)


@analysis()
def landing_matrix(trace: Trace, vector: Float[Array, "..."] | None = None) -> LandingMatrix:
    """How large every write is at every read site after it, and what it says there along a vector.

    All from the factors: a neuron's norm is ``|a_j|`` times one number per site, from one product of its
    column's squares with the sites' ``γ²``; heads are made one at a time. The result holds ``2L+1`` numbers a write and
    position, so on a large model trace with ``at=[-1]``.

    Args:
        trace: bound to its weights. With `RESIDUALS` or `NORMED` recorded the projections carry their closure error.
        vector: ``[d_model]``, or ``[batch or 1, position or 1, d_model]``, in the space of the norms' output, γ not
            included: an unembedding's row, a probe, a key. By default norms alone are computed.

    Raises:
        LandedError: for a trace without weights or without the needed sites, or a vector of another shape.

    References:
        Kobayashi et al., Incorporating Residual and Normalization Layers into Analysis of Masked Language Models,
        2021 (norms of what each part adds, taken after the normalisation).

    >>> from landed_jax import ModelConfig, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> params = init_params(config, jax.random.key(0))
    >>> _, trace = forward(params, jnp.array([[1, 5, 7]]), config)
    >>> matrix = landing_matrix(trace.bind(params), jnp.ones(8))
    >>> matrix.norm.neurons.shape
    (5, 2, 1, 3, 12)
    >>> head = matrix.of(Write("head", layer=0, index=3))
    >>> head.sites, head.next.site, head.final.site
    (('0.mlp', '1.attn', '1.mlp', 'final'), '0.mlp', 'final')
    """
    if vector is not None:
        vector = Vector(vector, site="final").resolve(trace).vector
    return _landing_matrix(bare(trace), vector)


@by_layers
def _landing_matrix(trace: Trace, vector: jax.Array | None) -> LandingMatrix:
    projection = value = error = None
    if vector is not None:
        projection = _projections(trace, vector)
        stream = _landed_stream(trace)
        if stream is not None:
            value = jnp.sum(stream * vector[None], axis=-1)
            error = jnp.abs(projection.total() - value)
    experts = None if trace.chosen is None else trace.chosen.ids
    return LandingMatrix(_norms(trace), projection, value, error, experts)


def _projections(trace: Trace, vector: jax.Array) -> PerWrite:
    def at(gamma: jax.Array) -> PerWrite:
        return inner_products(trace, heard(vector * left_broadcast(gamma, vector), trace.config))

    return _landed(trace, jax.vmap(at)(trace.gamma))


def _norms(trace: Trace) -> PerWrite:
    squares = jnp.square(trace.gamma)

    def layer(writes: LayerWrites) -> PerWrite:
        columns = jax.tree.map(safe_root, writes.weighted_squares(squares))
        # Head by head: one head's write is alive at a time, and a sum of squares cannot round to below 0.
        heads = writes.for_each_head(lambda written: _norm_at_sites(written, squares))
        amounts = writes.amounts
        biases = (amounts.attn_bias[None] * columns.attn_bias, amounts.mlp_bias[None] * columns.mlp_bias)
        return PerWrite.of_layers(heads, jnp.abs(amounts.neurons)[None] * columns.neurons, *biases)

    layers = jax.tree.map(lambda values: jnp.swapaxes(values, 0, 1), from_layers(trace, layer, heard=True))
    embeddings = of_embeddings(trace, lambda written: _norm_at_sites(heard(written, trace.config), squares))
    return _landed(trace, dataclasses.replace(layers, **embeddings))


def _norm_at_sites(
    written: Float[Array, "batch position d_model"], squares: Float[Array, "site d_model"]
) -> Float[Array, "site batch position"]:
    return safe_root(jnp.einsum("bpd,sd->sbp", jnp.square(written), squares))


def _landed(trace: Trace, products: PerWrite) -> PerWrite:
    """Divided by each site's σ, and 0 before the write."""
    sigma = trace.sigma
    after_attn, after_mlp = map(jnp.asarray, trace.order.heard())

    def land(values: jax.Array, heard: jax.Array) -> jax.Array:
        scale = sigma[:, None] if values.ndim == 4 else sigma[:, None, ..., None]
        return jnp.where(heard.reshape(*heard.shape, *(1,) * (values.ndim - 2)), values / scale, 0)

    layers = PerWrite.of_layers(
        land(products.heads, after_attn),
        land(products.neurons, after_mlp),
        land(products.attn_bias, after_attn),
        land(products.mlp_bias, after_mlp),
    )
    return dataclasses.replace(layers, **{name: number / sigma for name, number in products.embeddings.items()})


def _landed_stream(trace: Trace) -> jax.Array | None:
    """What every norm put out, less its own bias, where the trace can say."""
    if all(site.value in trace.sown for site in NORMED):
        return trace.normed if (beta := trace.beta) is None else trace.normed - beta[:, None, None]
    if all(site.value in trace.sown for site in RESIDUALS):
        return jax.vmap(scale_stream)(heard(trace.residual, trace.config), trace.sigma, trace.gamma)
    return None
