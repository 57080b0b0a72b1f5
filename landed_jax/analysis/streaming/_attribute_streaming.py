"""Every write's share of every position's value, reduced inside the layer loop: two ways to the same numbers."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from landed_jax.analysis.attribution._effects import embedding_mediated, layer_mediated, reader_of
from landed_jax.analysis.attribution._shares import Shares, folded_vectors, shares_of
from landed_jax.analysis.reads._questions import QuestionLike, as_question, resolve, site_of
from landed_jax.analysis.reads._read import Read
from landed_jax.analysis.reads._targets import Target
from landed_jax.analysis.reduce._reductions import LayerShares, Reduction
from landed_jax.analysis.reduce._top_writes import TopWrites
from landed_jax.analysis.writes._projections import check_norms, from_layers, of_embeddings
from landed_jax.analysis.writes._write import Write
from landed_jax.automatic_axes import on_any_mesh
from landed_jax.errors import LandedError
from landed_jax.forward_pass import forward
from landed_jax.memory.estimates import attribution_bytes, choose_passes, part_of, weight_bytes
from landed_jax.mesh import DATA, MODEL
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.hook_points import EMBEDDINGS, OUTPUT_SCALES, ROUTING, HookPoint
from landed_jax.nn.layer_writes import LayerWrites
from landed_jax.nn.parameters import Params
from landed_jax.nn.per_write import PerWrite
from landed_jax.nn.runs import sums_of_neurons
from landed_jax.nn.schedule import for_second_pass
from landed_jax.nn.sharding import mesh_under
from landed_jax.nn.tap import Edit
from landed_jax.nn.weight_norms import WeightNorms
from landed_jax.numerics import highest_precision, is_concrete
from landed_jax.results.result import Result, result, with_provenance
from landed_jax.tokens import Tokens, as_tokens, columns
from landed_jax.trace import Trace

ENDS = frozenset(
    {
        *EMBEDDINGS,
        HookPoint.FINAL_RESIDUAL,
        HookPoint.FINAL_SIGMA,
        HookPoint.FINAL_GAMMA,
        HookPoint.FINAL_NORMED,
    }
)
FACTORS = OUTPUT_SCALES | (ROUTING - {HookPoint.ROUTER}) | {HookPoint.HEAD, HookPoint.NEURON}
Sums = tuple[jax.Array, jax.Array]  # of heads, or of runs of neurons; and the bias


@result
class StreamedAttribution(Result):
    """What a reduction kept of an attribution, with the sums that show it closes.

    Attributes:
        reduced: what the `Reduction` gave.
        embedding: the embedding's landed contribution.
        embedding_effect, embedding_share: its direct effect and σ share; None unless asked for.
        position_embedding, position_embedding_effect, position_embedding_share: likewise of the learned position; None
            in a model without.
        attn, mlp: each layer's landed contribution, all heads (neurons) and the bias together.
        offset: the part of the value that no write makes: a LayerNorm's β along what reads.
        value: the model's own logit, difference or centred logit, or what was read.
        total: the embeddings, ``Σ attn + Σ mlp``, and `offset`.
        closure_error: ``|total − value|``, in units of the value.
        target, against: ids ``[batch, position]``; None where no token was read.
        passes: 1 or 2, how it was computed.
    """

    reduced: Any
    embedding: Float[Array, "batch position"]
    embedding_effect: Float[Array, "batch position"] | None
    embedding_share: Float[Array, "batch position"] | None
    position_embedding: Float[Array, "batch position"] | None
    position_embedding_effect: Float[Array, "batch position"] | None
    position_embedding_share: Float[Array, "batch position"] | None
    attn: Float[Array, "layer batch position"]
    mlp: Float[Array, "layer batch position"]
    offset: Float[Array, "#batch #position"]
    value: Float[Array, "batch position"]
    total: Float[Array, "batch position"]
    closure_error: Float[Array, "batch position"]
    target: Int[Array, "batch position"] | None
    against: Int[Array, "batch position"] | None
    passes: int = dataclasses.field(metadata={"static": True})

    def writes(self) -> list[Write]:
        """The names of what `top_writes` or `top_per_position` kept, in their order (each position's after another's).

        With them `write_vector` and `land` make vectors, from a trace that need hold no more than their positions.

        Raises:
            LandedError: for another reduction, or where the numbers are not known yet: inside ``jit`` or ``vmap``.
        """
        top = self.reduced
        if not isinstance(top, TopWrites):
            raise LandedError("Only top_writes and top_per_position keep single writes that can be named.")
        if not is_concrete(top.layer):
            raise LandedError("The names of writes are not known inside jit or vmap: call writes() on what comes out.")
        experts = top.is_neuron if top.expert is None else top.expert
        fields = (top.is_neuron, experts, top.layer, top.index, top.batch, top.position)
        rows = zip(*(np.asarray(field)[np.asarray(top.there)].tolist() for field in fields), strict=True)
        with_experts = top.expert is not None
        return [
            Write("neuron", *place, expert=expert if with_experts else None) if is_neuron else Write("head", *place)
            for is_neuron, expert, *place in rows
        ]


@on_any_mesh()
@highest_precision
def attribute_streaming(
    params: Params,
    tokens: Tokens | Int[Array, "batch position"],
    config: ModelConfig,
    reduction: Reduction,
    question: QuestionLike = None,
    against: Target | None = None,
    *,
    effects: bool = False,
    at: int | Sequence[int] | Int[Array, " recorded"] | None = None,
    edits: Mapping[HookPoint, Edit] | None = None,
    dtype: Any = None,
    passes: Literal[1, 2] | None = None,
    norms: WeightNorms | None = None,
) -> StreamedAttribution:
    """Run the model and attribute each position's logit to every head and neuron, keeping only what is asked for.

    The same numbers as `attribute`, in one of two ways. *One pass* keeps the factors of all layers (z and a) and
    contracts them afterwards. *Two passes*: the first finds σ and the targets; the second runs the layers again and
    contracts inside the layer loop, so that one layer's shares are alive at a time. Both agree to rounding.

    Pure: call it under ``jit`` with `config`, `reduction` and the keywords but `at` and `norms` static, as
    `Model.attribute_streaming` does. ``vmap`` over questions shares the passes.

    Args:
        params, tokens, config, at, edits, dtype: as for `forward`.
        reduction: what to keep: `top_writes`, `top_per_position`, `layer_sums`, `histogram`, `everything`, or yours.
        question, against: as for `attribute`, read at the final norm; tokens by their ids.
        effects: also direct effects and σ shares.
        passes: 1 or 2; by default one if `attribution_bytes` says that what it keeps on one device fits into a quarter
            of what the weights leave of the device's memory (`choose_passes`).
        norms: as for `attribute`.

    Raises:
        LandedError: for another number of passes, and what `forward` and `attribute` refuse.

    References:
        Elhage et al., A Mathematical Framework for Transformer Circuits, 2021 (direct logit attribution). Chen et al.,
        Training Deep Nets with Sublinear Memory Cost, 2016 (computing again instead of keeping).

    >>> from landed_jax import init_params
    >>> from landed_jax.analysis.reduce import top_writes
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> params = init_params(config, jax.random.key(0))
    >>> run = jax.jit(lambda params, ids: attribute_streaming(params, ids, config, top_writes(5)))
    >>> found = run(params, jnp.array([[1, 5, 7]]))
    >>> found.reduced.landed.shape, bool(found.closure_error.max() < 1e-5)
    ((5,), True)
    """
    tokens = as_tokens(tokens)
    check_reduction(reduction)
    chosen = number_of_passes(params, tokens, config, passes, at=at, effects=effects, dtype=dtype)
    record = ENDS | FACTORS if chosen == 1 else ENDS
    trace = forward(params, tokens, config, record=record, at=at, edits=edits, dtype=dtype)[1].bind(params)
    check_norms(norms, trace)
    question = as_question(question, against)
    if isinstance(question, Read):
        raise LandedError(
            "A streamed question is resolved against the pass itself: give a Logit or a Vector, not a Read."
        )
    if site_of(question) != "final":
        raise LandedError(f"A streamed attribution reads at the final norm, not at {site_of(question)}: use attribute.")
    asked = resolve(trace, question)
    share = _sharing(trace, asked, effects, norms)

    def reduce(writes: LayerWrites) -> tuple[Any, Sums, Sums]:
        shares = share(writes)
        landed = shares.landed
        heads, neurons = landed.heads, sums_of_neurons(landed.neurons)
        return jax.tree.map(jnp.asarray, reduction.layer(shares)), (heads, landed.attn_bias), (neurons, landed.mlp_bias)

    if chosen == 1:
        reduced, attn, mlp = from_layers(trace, reduce, in_turn=True)
    else:
        first = asked.value, trace[HookPoint.FINAL_SIGMA]
        again = dataclasses.replace(tokens, ids=for_second_pass(tokens.ids, first))
        _, second = forward(
            params, again, config, record=(), at=at, edits=edits, observers={"reduced": reduce}, dtype=dtype
        )
        reduced, attn, mlp = second.observed["reduced"]
    attn, mlp = (jnp.sum(runs, axis=-1) + bias for runs, bias in (attn, mlp))
    before = _embedding_shares(trace, asked, effects)
    landed, effect, part = before.landed, before.direct_effect, before.sigma_share
    layers = jnp.sum(attn, axis=0) + jnp.sum(mlp, axis=0)
    total = sum(landed.embeddings.values(), start=layers) + asked.offset
    found = StreamedAttribution(
        reduced=reduction.finish(reduced),
        embedding=landed.embedding,
        embedding_effect=None if effect is None else effect.embedding,
        embedding_share=None if part is None else part.embedding,
        position_embedding=landed.position_embedding,
        position_embedding_effect=None if effect is None else effect.position_embedding,
        position_embedding_share=None if part is None else part.position_embedding,
        attn=attn,
        mlp=mlp,
        offset=asked.offset,
        value=asked.value,
        total=total,
        closure_error=jnp.abs(total - asked.value),
        target=asked.target,
        against=asked.against,
        passes=chosen,
    )
    return with_provenance(found, trace.provenance)


def check_reduction(reduction: object) -> None:
    """Refuse what is no `Reduction`.

    Raises:
        LandedError: saying what to give instead.
    """
    if not isinstance(reduction, Reduction):
        raise LandedError(
            f"reduction= takes a Reduction, such as top_writes(10) or Reduction(yours), not {reduction!r}."
        )


def number_of_passes(
    params: Params,
    tokens: Tokens,
    config: ModelConfig,
    passes: Literal[1, 2] | None,
    *,
    at: int | Sequence[int] | Int[Array, " recorded"] | None,
    effects: bool,
    dtype: Any,
) -> Literal[1, 2]:
    """The number that was asked for, or else chosen from the memory that each needs on one device.

    Raises:
        LandedError: for another number.
    """
    if passes is not None:
        if isinstance(passes, bool) or passes not in (1, 2):
            raise LandedError(f"An attribution takes 1 or 2 passes, not {passes!r}.")
        return passes
    batch, length = tokens.ids.shape
    positions = length if at is None else columns(at, length).size
    mesh = mesh_under(params)
    shards = {} if mesh is None else dict(mesh.shape)
    data, model = shards.get(DATA, 1), shards.get(MODEL, 1)
    needed = attribution_bytes(
        part_of(config, model),
        batch=batch // data if batch % data == 0 else batch,
        length=length,
        positions=positions,
        effects=effects,
        dtype=dtype,
    )
    return choose_passes(needed, weight_bytes(params))


def _sharing(
    trace: Trace, read: Read, effects: bool, norms: WeightNorms | None
) -> Callable[[LayerWrites], LayerShares]:
    """From one layer's writes to their shares in the read's value."""
    vectors, reader = folded_vectors(trace, read, effects), reader_of(trace, read)

    def share(writes: LayerWrites) -> LayerShares:
        writes = dataclasses.replace(writes, norms=jax.tree.map(lambda leaf: leaf[writes.layer], norms))
        products = writes.inner_products_with(vectors)
        found = shares_of(trace, read, products, lambda mine, xw: layer_mediated(writes, mine, xw, reader))
        return LayerShares(found.landed, found.direct_effect, found.sigma_share, writes.layer, writes)

    return share


def _embedding_shares(trace: Trace, read: Read, effects: bool) -> Shares:
    products = [
        PerWrite.of_embeddings(of_embeddings(trace, lambda written, v=vector: jnp.vecdot(written, v)))
        for vector in folded_vectors(trace, read, effects)
    ]

    def mediated(landed: PerWrite, with_stream: PerWrite) -> PerWrite:
        reader = reader_of(trace, read)
        found = {
            name: embedding_mediated(written, landed.embeddings[name], reader)
            for name, written in trace.embeddings.items()
        }
        return PerWrite.of_embeddings(found)

    return shares_of(trace, read, products, mediated)
