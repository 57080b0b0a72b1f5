"""Circuits as the JSON files of MIB's circuit track and of EAP-IG's graphs."""

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from landed_jax.circuits._choose import nodes_of
from landed_jax.circuits._graph import LOGITS, Graph
from landed_jax.errors import LandedError, shown
from landed_jax.files.atomic_file import write_file
from landed_jax.files.json_object import read_json_object

# A file of 1.6 million edges (32 layers of 32 heads) has 100 MB.
LARGEST_FILE, MOST_LAYERS, MOST_HEADS, MOST_EDGES = 2**28, 1000, 1000, 2**24


@dataclass(frozen=True, eq=False)
class Circuit:
    """A circuit as a file has it.

    Attributes:
        scores: of each of the graph's edges; 0 where the file has none.
        in_circuit: whether an edge belongs to it.
    """

    graph: Graph
    scores: Float[np.ndarray, " edge"]
    in_circuit: Bool[np.ndarray, " edge"]


def write_circuit(
    path: str | os.PathLike[str],
    graph: Graph,
    scores: Float[Array | np.ndarray, " edge"],
    in_circuit: Bool[Array | np.ndarray, " edge"] | None = None,
) -> None:
    """Write edges with their scores, and which of them are in the circuit, as MIB's circuit track reads them.

    A node is in the circuit where an edge of the circuit goes into one of its reads and one out of it. The file appears
    complete or not at all.

    Args:
        scores: one a edge, in the order of `Graph.edges`, such as ``edge_attribution(…).mean``.
        in_circuit: by default every edge: MIB then chooses by the scores.

    Raises:
        LandedError: for numbers that are not finite or not of this graph, and a path that cannot be written.

    References:
        Mueller et al., MIB: A Mechanistic Interpretability Benchmark, 2025 (circuit localization track).

    >>> import tempfile
    >>> graph = Graph(n_layers=1, n_heads=1, d_model=4)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_circuit(f"{folder}/circuit.json", graph, jnp.arange(8.0), graph.between("input", "logits"))
    ...     document = json.loads(Path(folder, "circuit.json").read_text())
    >>> document["cfg"]
    {'n_layers': 1, 'n_heads': 1, 'parallel_attn_mlp': False, 'd_model': 4}
    >>> document["nodes"]["m0"], document["edges"]["input->logits"]
    ({'in_graph': False}, {'score': 5.0, 'in_graph': True})
    """
    values = np.asarray(scores, np.float64)
    inside = np.ones(len(graph), bool) if in_circuit is None else np.asarray(in_circuit)
    if values.shape != (len(graph),) or inside.shape != (len(graph),) or inside.dtype != bool:
        raise LandedError(f"A circuit of this graph has {len(graph)} scores, and as many marks that are true or false.")
    if not np.isfinite(values).all():
        raise LandedError("The scores are not all finite, so they cannot be written as JSON.")
    with_edges = nodes_of(graph.matrix(jnp.asarray(inside)), jnp.asarray(graph.reads_of_senders()))
    nodes = dict(zip(graph.senders, np.asarray(with_edges).tolist(), strict=True)) | {LOGITS: True}
    document = {
        "cfg": {
            "n_layers": graph.n_layers,
            "n_heads": graph.n_heads,
            "parallel_attn_mlp": graph.parallel,
            "d_model": graph.d_model,
        },
        "nodes": {name: {"in_graph": there} for name, there in nodes.items()},
        "edges": {
            name: {"score": score, "in_graph": there}
            for name, score, there in zip(graph.edges, values.tolist(), inside.tolist(), strict=True)
        },
    }
    write_file(path, json.dumps(document).encode())


def read_circuit(path: str | os.PathLike[str]) -> Circuit:
    """A circuit from such a file.

    Raises:
        LandedError: for a file that cannot be read, is of another form, or names an edge that its model does not have.

    >>> import tempfile
    >>> graph = Graph(n_layers=1, n_heads=1, d_model=4)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_circuit(f"{folder}/circuit.json", graph, jnp.arange(8.0), graph.between("input", "logits"))
    ...     found = read_circuit(f"{folder}/circuit.json")
    >>> [found.graph.edges[edge] for edge in np.flatnonzero(found.in_circuit)]
    ['input->logits']
    """
    document = read_json_object(Path(path), LARGEST_FILE)
    graph, edges = _graph(path, document.get("cfg")), document.get("edges")
    if not isinstance(edges, dict):
        raise LandedError(f"{path} is no circuit: it has no edges.")
    known = {name: place for place, name in enumerate(graph.edges)}
    scores, inside = np.zeros(len(graph)), np.zeros(len(graph), bool)
    for name, edge in edges.items():
        if name not in known:
            raise LandedError(f"{path} has an edge {shown(name)} that a model of its sizes does not have.")
        score, there = (edge.get("score"), edge.get("in_graph")) if isinstance(edge, dict) else (None, None)
        if not isinstance(score, int | float) or not isinstance(there, bool) or not math.isfinite(score):
            raise LandedError(f"{path} has an edge {name} without a score or without in_graph: {shown(edge)}.")
        scores[known[name]], inside[known[name]] = score, there
    return Circuit(graph, scores, inside)


def _graph(path: Any, fields: Any) -> Graph:
    """The graph of a model of the sizes that a file states."""
    fields = fields if isinstance(fields, dict) else {}
    sizes = {name: fields.get(name) for name in ("n_layers", "n_heads", "d_model")}
    most = {"n_layers": MOST_LAYERS, "n_heads": MOST_HEADS, "d_model": 2**31}
    for name, size in sizes.items():
        if type(size) is not int or not 0 < size <= most[name]:
            raise LandedError(f"{path} is no circuit: {name} of its cfg is {shown(size)}, not a size.")
    parallel = fields.get("parallel_attn_mlp", False)
    if not isinstance(parallel, bool):
        raise LandedError(f"{path} is no circuit: parallel_attn_mlp of its cfg is {shown(parallel)}.")
    layers, heads = fields["n_layers"], fields["n_heads"]
    if (layers * (heads + 1) + 1) * (layers * (3 * heads + 1) + 1) > 2 * MOST_EDGES:
        raise LandedError(f"{path} is of {layers} layers of {heads} heads: more edges than are read.")
    return Graph(layers, heads, fields["d_model"], parallel)
