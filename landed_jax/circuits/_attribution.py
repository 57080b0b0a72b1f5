"""Edge attribution: every edge's effect to first order, from one backward pass or several."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from landed_jax.circuits._graph import Graph
from landed_jax.circuits._others import Ablation, Part, known_of, parts_of
from landed_jax.errors import LandedError, shown
from landed_jax.interventions._measures import Measure
from landed_jax.model import Model
from landed_jax.numerics import highest_precision, whole_number
from landed_jax.results.result import Result, result
from landed_jax.tasks._pairs import Pairs
from landed_jax.tokens import Tokens


@result
class EdgeScores(Result):
    """What each edge carries of a value, to first order, in units of the value.

    Attributes:
        scores: positive where the edge supports the clean value: about what is lost where it carries the other write.
        value: of the clean run.
    """

    scores: Float[Array, "batch edge"]
    value: Float[Array, " batch"]

    @property
    def graph(self) -> Graph:
        """The edges that the scores are of."""
        return Graph.of(self.config)

    @property
    def edges(self) -> tuple[str, ...]:
        """The edges' names."""
        return self.graph.edges

    @property
    def senders(self) -> tuple[str, ...]:
        """The nodes' names."""
        return self.graph.senders

    @property
    def mean(self) -> Float[Array, " edge"]:
        """`scores`, averaged over the prompts."""
        return jnp.mean(self.scores, axis=0)

    @property
    def node_scores(self) -> Float[Array, "batch sender"]:
        """Each node's score: the sum of its edges', its write's change times the value's slope by its write.

        All reads hear the same write, so the slope by the write is the sum of those by what each read hears of it. That
        makes the sum attribution patching of the node's *write*. Under an output norm it is not that of the
        node's output before the norm, which changes σ′. Exact effects do not sum so: removing a node is not removing
        its edges one by one.
        """
        return jnp.sum(self.graph.matrix(self.scores), axis=-2)


def edge_attribution(
    model: Model,
    pairs: Pairs,
    *,
    steps: int = 0,
    measure: Measure = None,
    ablation: Ablation = "resample",
    data: Tokens | None = None,
    freeze_sigma: bool = False,
    dtype: Any = None,
) -> EdgeScores:
    """Edge attribution patching: ``⟨own write − other write, ∂value/∂(input of the read)⟩`` of every edge.

    The score is minus the derivative of a split run by the edge's weight, at the run itself. With `steps` the slope is
    the mean over runs whose embeddings go from the corrupted prompt's to the clean one's in as many steps (EAP-IG, by
    its inputs), the last of which is the clean run: ``steps=1`` is the same as 0. That is the paper's sum;
    `attribution_patching`, of nodes, takes the steps' midpoints.

    Args:
        steps: how many runs the slope is averaged over; 0 for the clean run alone.
        measure: as for `landed.sweep`, measured at the last column; by default the pairs' own question.
        ablation: what the other write is; see `circuit_values`.
        data: the prompts of a mean.
        freeze_sigma: hold every norm's σ as in the clean run.
        dtype: float32 or float64; by default JAX's default float.

    Raises:
        LandedError: for a number of steps below 0, and what `circuit_values` refuses.

    References:
        Syed et al., Attribution Patching Outperforms Automated Circuit Discovery, 2023; Hanna et al., Have Faith in
        Faithfulness, 2024 (EAP-IG).

    >>> import landed_jax as landed
    >>> from landed_jax.tasks import answered, pairs_of
    >>> from landed_jax.testbed.prompts import tasks
    >>> model = landed.load()
    >>> [pairs] = pairs_of(answered(model, tasks()["indirect object"], 8))
    >>> found = edge_attribution(model, pairs)
    >>> best = found.mean.argsort()[::-1][:3]
    >>> [(found.edges[edge], round(float(found.mean[edge]), 2)) for edge in best]
    [('m3->logits', 7.94), ('a0.h1->m0', 7.7), ('input->a0.h1<v>', 2.81)]
    """
    if not whole_number(steps) or steps < 0:
        raise LandedError(f"steps={shown(steps)} is no number of runs: give 0 for the clean run alone, or more.")
    scores, values = [], []
    asked = pairs.question(model.params, model.config, dtype) if measure is None else measure
    how: dict[str, Any] = {"data": data, "freeze_sigma": freeze_sigma, "dtype": dtype}
    for part in parts_of(model, pairs.clean, pairs.corrupted, asked, ablation, **how):
        scores.append(_scores(part, int(steps))[: part.count])
        values.append(part.runs.value(part.whole, part.measure)[: part.count])
    return EdgeScores(jnp.concatenate(scores), jnp.concatenate(values), provenance=known_of(model, pairs.clean))


def _scores(part: Part, steps: int) -> Float[Array, "batch edge"]:
    runs, lost = part.runs, part.whole.writes - part.other
    start, found, by_prompt = part.other[0], [], _by_prompt(lost)
    for step in range(1, max(steps, 1) + 1):
        whole = part.whole if step >= steps else runs.whole(start + step / steps * lost[0], part.held)
        slopes = runs.slopes(whole, part.measure, part.held)
        found.append([_products(of_reads, by_prompt) for of_reads in slopes])
    return _mean_of_edges(found, graph=runs.graph)


@jax.jit
def _by_prompt(nodes: Float[Array, "node batch position d_model"]) -> Float[Array, "batch node coordinate"]:
    """Positions and coordinates as one axis, the prompts first: so both sides of the products lie as they are read."""
    return jnp.swapaxes(nodes, 0, 1).reshape(nodes.shape[1], nodes.shape[0], -1)


@jax.jit
@highest_precision
def _products(
    slopes: Float[Array, "read batch position d_model"], lost: Float[Array, "batch sender coordinate"]
) -> Float[Array, "batch read sender"]:
    return jnp.einsum("brx,bux->bru", _by_prompt(slopes), lost)


@functools.partial(jax.jit, static_argnames="graph")
def _mean_of_edges(found: Sequence[Sequence[jax.Array]], *, graph: Graph) -> Float[Array, "batch edge"]:
    """Each step's products, the last read's first, as the mean of each edge."""
    total = functools.reduce(lambda a, b: jax.tree.map(jnp.add, a, b), found)
    return graph.vector(jnp.concatenate(total[::-1], axis=1)) / len(found)
