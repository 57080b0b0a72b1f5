"""Circuits from scores: the edges with the largest, and what of them hangs together."""

import heapq

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from landed_jax.circuits._graph import Graph
from landed_jax.errors import LandedError, shown
from landed_jax.numerics import is_concrete, whole_number


def top_edges(
    graph: Graph, scores: Float[Array | np.ndarray, " edge"], count: int, *, absolute: bool = True, pruned: bool = True
) -> Bool[Array, " edge"]:
    """The edges with the largest scores; of equal ones the first.

    Args:
        count: how many, before pruning.
        absolute: by their size; otherwise those that support the value most.
        pruned: leave out what is on no path; see `connected`.

    Raises:
        LandedError: for a count of edges that cannot be, scores of another graph, and NaN (not seen under ``jit``).

    >>> graph = Graph(n_layers=1, n_heads=1, d_model=4)
    >>> kept = top_edges(graph, jnp.array([0.1, 0.0, 3.0, 0.0, 2.0, 1.0, -2.0, 0.5]), 3)
    >>> [graph.edges[edge] for edge in np.flatnonzero(kept)]
    ['input->a0.h0<v>', 'a0.h0->logits']
    """
    size = _size(graph, scores, count, absolute)
    kept = jnp.zeros(len(graph), bool).at[jnp.argsort(-size, stable=True)[:count]].set(True)
    return connected(graph, kept) if pruned else kept


def greedy_edges(
    graph: Graph, scores: Float[Array | np.ndarray, " edge"], count: int, *, absolute: bool = True
) -> Bool[np.ndarray, " edge"]:
    """Edges chosen one after another from the logits down: each time the largest into a read of a node that is in.

    Pruned at the end, as `top_edges`: an edge whose node found none of its own is on no path from the input.

    Args:
        scores: known numbers, not under ``jit``.

    Raises:
        LandedError: as `top_edges`.

    References:
        Hanna et al., Have Faith in Faithfulness, 2024.
    """
    size = np.asarray(_size(graph, scores, count, absolute), np.float64)
    places, into = graph.places, graph.reads_of_senders()
    by_read = [np.flatnonzero(places[:, 0] == read) for read in range(len(graph.reads))]
    kept, reached = np.zeros(len(graph), bool), np.zeros(len(graph.senders), bool)
    waiting = [(-size[edge], edge) for edge in by_read[-1].tolist()]
    heapq.heapify(waiting)
    for _ in range(count):
        if not waiting:
            break
        edge = heapq.heappop(waiting)[1]
        kept[edge], sender = True, places[edge, 1]
        if not reached[sender]:
            reached[sender] = True
            for read in np.flatnonzero(into[sender]):
                for more in by_read[read].tolist():
                    heapq.heappush(waiting, (-size[more], more))
    return np.asarray(connected(graph, jnp.asarray(kept)))


def connected(graph: Graph, kept: Bool[Array | np.ndarray, " edge"]) -> Bool[Array, " edge"]:
    """Those of some edges that are on a path from the input to the logits.

    A node is on one if an edge goes into one of its reads and one out of it; the input needs none into it. What other
    nodes have is left out, again and again until nothing changes (as EAP-IG's graphs are pruned).

    >>> graph = Graph(n_layers=1, n_heads=1, d_model=4)
    >>> [graph.edges[edge] for edge in np.flatnonzero(connected(graph, graph.between("m0", "logits")))]
    []
    """
    exists, own = jnp.asarray(graph.exists), jnp.asarray(graph.reads_of_senders())

    def smaller(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        edges, _ = state
        inside = nodes_of(edges, own)
        of_reads = jnp.any(own & inside[:, None], axis=0).at[-1].set(True)
        return edges & inside[None] & of_reads[:, None], edges

    start = exists & graph.matrix(jnp.asarray(kept))
    edges, _ = jax.lax.while_loop(lambda state: jnp.any(state[0] != state[1]), smaller, (start, ~start))
    return graph.vector(edges)


def nodes_of(edges: Bool[Array, "read sender"], own: Bool[Array, "sender read"]) -> Bool[Array, " sender"]:
    """Which nodes have an edge into one of their reads and one out of them; the input needs none into it."""
    entered = jnp.any(own & jnp.any(edges, axis=1)[None], axis=1).at[0].set(True)
    return entered & jnp.any(edges, axis=0)


def _size(graph: Graph, scores: jax.Array | np.ndarray, count: int, absolute: bool) -> jax.Array:
    scores = jnp.asarray(scores)
    if scores.shape != (len(graph),):
        raise LandedError(f"The scores of this graph have the shape [{len(graph)}], not {list(scores.shape)}.")
    if not whole_number(count) or not 0 <= count <= len(graph):
        raise LandedError(f"There are no {shown(count)} edges to choose: this graph has {len(graph)}.")
    if is_concrete(scores) and len(unknown := np.flatnonzero(np.isnan(np.asarray(scores)))):
        raise LandedError(f"The score of {graph.edges[unknown[0]]} is NaN: edges are chosen by known numbers.")
    return jnp.abs(scores) if absolute else scores
