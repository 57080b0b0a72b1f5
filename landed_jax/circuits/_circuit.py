"""Runs of a circuit: the model with the edges outside of it cut; and how much of a value it keeps."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from landed_jax.circuits._graph import Graph
from landed_jax.circuits._others import WRITES_BYTES, Ablation, known_of, parts_of
from landed_jax.errors import LandedError
from landed_jax.interventions._measures import Measure
from landed_jax.model import Model
from landed_jax.numerics import is_concrete
from landed_jax.results.result import Result, result
from landed_jax.tasks._pairs import Pairs
from landed_jax.tokens import Tokens

Masks = Bool[Array | np.ndarray, "circuit edge"] | Float[Array | np.ndarray, "circuit edge"]
"""Of each circuit what each edge keeps, in the order of `Graph.edges`: 1 where it is in the circuit, 0 where not."""


@result
class Faithfulness(Result):
    """How much of a value circuits keep.

    Attributes:
        value: ``m(C)``, each circuit's.
        whole: ``m(N)``, of the clean run: every edge kept.
        empty: ``m(∅)``: every edge cut.
    """

    value: Float[Array, "circuit batch"]
    whole: Float[Array, " batch"]
    empty: Float[Array, " batch"]

    @property
    def faithfulness(self) -> Float[Array, " circuit"]:
        """``(m(C) − m(∅)) / (m(N) − m(∅))`` of the means over the prompts: 1 for the whole model, 0 for no edge.

        References:
            Mueller et al., MIB: A Mechanistic Interpretability Benchmark, 2025.
        """
        empty, whole = jnp.mean(self.empty), jnp.mean(self.whole)
        return (jnp.mean(self.value, axis=1) - empty) / (whole - empty)


def circuit_values(
    model: Model,
    pairs: Pairs,
    masks: Masks,
    ablation: Ablation = "resample",
    *,
    measure: Measure = None,
    data: Tokens | None = None,
    freeze_sigma: bool = False,
    dtype: Any = None,
) -> Float[Array, "circuit batch"]:
    """What is measured of runs in which edges outside of a circuit carry another write than their node's.

    Each read of a run hears the stream and, of every edge that is cut, the other write in place of the node's own write
    *in this run*; its σ is that of what it hears. A mask may be any number: 1 keeps an edge, 0 cuts it, between them it
    carries both. Masks are data: other circuits compile nothing, and ``grad`` and ``vmap`` go through them.

    Args:
        masks: of each circuit what each edge keeps, in the order of `Graph.edges`.
        ablation: what a cut edge carries: ``"resample"``, the node's write in the corrupted prompt; ``"mean"``, its
            mean over the corrupted prompts, or over `data`, first tokens and others apart; ``"zero"``, nothing.
        measure: as for `landed.sweep`, measured at the last column; by default the pairs' own question.
        data: the prompts of a mean.
        freeze_sigma: hold every norm's σ as in the clean run.
        dtype: float32 or float64; by default JAX's default float.

    Raises:
        LandedError: for masks of another shape, an ablation that there is not, and what `landed.sweep` refuses of a
            measure.

    References:
        Wang et al., Interpretability in the Wild, 2022; Conmy et al., Towards Automated Circuit Discovery, 2023 (edges
        cut by resampling).

    >>> import landed_jax as landed
    >>> from landed_jax.circuits import Graph
    >>> from landed_jax.tasks import answered, pairs_of
    >>> from landed_jax.testbed.prompts import tasks
    >>> model = landed.load()
    >>> [pairs] = pairs_of(answered(model, tasks()["indirect object"], 2))
    >>> edges = len(Graph.of(model.config))
    >>> values = circuit_values(model, pairs, jnp.stack([jnp.ones(edges), jnp.zeros(edges)]))  # each prompt's
    >>> [[round(value, 1) for value in circuit] for circuit in values.tolist()]
    [[11.3, 11.3], [-18.2, -9.8]]
    """
    asked = pairs.question(model.params, model.config, dtype) if measure is None else measure
    how: dict[str, Any] = {"data": data, "freeze_sigma": freeze_sigma, "dtype": dtype}
    return run_masks(model, pairs.clean, pairs.corrupted, masks, asked, ablation, **how)


def run_masks(
    model: Model,
    clean: Tokens,
    corrupted: Tokens,
    masks: Masks,
    measure: Measure,
    ablation: Ablation = "resample",
    **how: Any,
) -> Float[Array, "circuit batch"]:
    """`circuit_values` of any two aligned batches of prompts."""
    graph, masks, found = Graph.of(model.config), jnp.asarray(masks), []
    if masks.ndim != 2 or masks.shape[1] != len(graph) or not masks.shape[0]:
        raise LandedError(f"Masks have the shape [circuit, {len(graph)} edges], not {list(masks.shape)}.")
    together = _together(graph, masks)
    for part in parts_of(model, clean, corrupted, measure, ablation, **how):
        most = max(1, WRITES_BYTES // part.other.nbytes)
        values = []
        for first, circuits in together:
            size = -(-len(circuits) // -(-len(circuits) // most))
            for some in (circuits[start : start + size] for start in range(0, len(circuits), size)):
                filled = np.resize(some, size)  # parts of one size share their programs
                weights = graph.matrix(1 - masks[filled].astype(part.other.dtype))
                run = part.runs.split(part.whole, part.other, weights, part.measure, part.held, first)
                values.append(run[: len(some), : part.count])
        found.append(jnp.concatenate(values)[np.argsort(np.concatenate([circuits for _, circuits in together]))])
    return jnp.concatenate(found, axis=1)


def _together(graph: Graph, masks: jax.Array) -> list[tuple[int, np.ndarray]]:
    """Circuits of which the same layer is the first with a read that is cut off; under a transform all from layer 0."""
    if not is_concrete(masks):
        return [(0, np.arange(len(masks)))]
    layers = graph.places[:, 0] // (3 * graph.n_heads + 1)
    first = np.min(np.where(np.asarray(masks) != 1, layers, graph.n_layers), axis=1)
    return [(layer, np.flatnonzero(first == layer)) for layer in np.unique(first).tolist()]


def faithfulness(
    model: Model,
    pairs: Pairs,
    masks: Masks,
    ablation: Ablation = "resample",
    **how: Any,
) -> Faithfulness:
    """How much of a value circuits keep: `circuit_values` between those of the whole model and of no edge.

    Args:
        how: as for `circuit_values`.

    Raises:
        LandedError: as `circuit_values` does.

    >>> import landed_jax as landed
    >>> from landed_jax.circuits import edge_attribution, top_edges
    >>> from landed_jax.tasks import answered, pairs_of
    >>> from landed_jax.testbed.prompts import tasks
    >>> model = landed.load()
    >>> [pairs] = pairs_of(answered(model, tasks()["indirect object"], 8))
    >>> scores = edge_attribution(model, pairs, steps=5)
    >>> masks = jnp.stack([top_edges(scores.graph, scores.mean, count) for count in (50, 200, 800)])
    >>> [round(value, 2) for value in faithfulness(model, pairs, masks).faithfulness.tolist()]
    [0.92, 0.99, 1.0]
    """
    masks = jnp.asarray(masks)
    ends = jnp.stack([jnp.ones_like(masks[0]), jnp.zeros_like(masks[0])])
    values = circuit_values(model, pairs, jnp.concatenate([ends, masks]), ablation, **how)
    return Faithfulness(values[2:], values[0], values[1], provenance=known_of(model, pairs.clean))
