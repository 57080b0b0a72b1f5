"""The graph's arithmetic and names."""

import numpy as np
import pytest

from landed_jax.circuits import Graph
from landed_jax.errors import LandedError
from landed_jax.nn.config import ModelConfig
from tests.models import CONFIGS


def hears(read: str, sender: str, parallel: bool) -> bool:
    """Whether an edge exists, from the names alone."""
    if read == "logits" or sender == "input":
        return True
    (layer, of), (before, by) = ((int(name[1:].split(".")[0]), name[0]) for name in (read, sender))
    return before < layer or (before == layer and of == "m" and by == "a" and not parallel)


@pytest.mark.quick
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_edges_are_those_of_the_stream(config: ModelConfig) -> None:
    graph = Graph.of(config)
    expected = [
        f"{sender}->{read}"
        for read in graph.reads
        for sender in graph.senders
        if hears(read, sender, config.parallel_blocks)
    ]
    assert list(graph.edges) == expected and len(graph) == len(expected)
    assert len(set(graph.reads)) == config.n_layers * (3 * config.n_heads + 1) + 1


def test_counts_are_those_of_the_literature() -> None:
    """Of GPT-2 small; and by the sum over layers, of any sizes."""
    assert len(Graph(12, 12, 768)) == 32_491 and len(Graph(12, 12, 768).senders) == 157
    for layers, heads in [(2, 3), (5, 1)]:
        before = [1 + layer * (heads + 1) for layer in range(layers)]
        assert len(Graph(layers, heads, 4)) == sum(3 * heads * n + n + heads for n in before) + before[-1] + heads + 1
        assert (
            len(Graph(layers, heads, 4, parallel=True))
            == sum(3 * heads * n + n for n in before) + before[-1] + heads + 1
        )


def test_numbers_of_edges_as_a_matrix_and_back() -> None:
    graph = Graph(2, 3, 4)
    values = np.random.default_rng(0).normal(size=(2, len(graph))).astype(np.float32)
    matrix = graph.matrix(values)
    assert matrix.shape == (2, len(graph.reads), len(graph.senders)) and not np.asarray(matrix)[:, ~graph.exists].any()
    np.testing.assert_array_equal(graph.vector(matrix), values)
    assert matrix[1, graph.reads.index("m1"), graph.senders.index("a0.h2")] == values[1, graph.edges.index("a0.h2->m1")]


def test_edges_between_names() -> None:
    graph = Graph(2, 3, 4)
    chosen = {graph.edges[edge] for edge in np.flatnonzero(graph.between(["m0", "a0.h1"], ["a1.h2", "m0", "m1"]))}
    reads = ("a1.h2<q>", "a1.h2<k>", "a1.h2<v>", "m1")
    assert chosen == {f"{sender}->{read}" for sender in ("m0", "a0.h1") for read in reads} | {"a0.h1->m0"}
    with pytest.raises(LandedError, match="'logits' is no node that writes"):
        graph.between("logits", "logits")


def test_a_nodes_own_reads() -> None:
    graph = Graph(2, 2, 4)
    own = graph.reads_of_senders()
    assert not own[0].any() and not own[:, -1].any()
    place = graph.senders.index("a1.h0")
    assert [graph.reads[read] for read in np.flatnonzero(own[place])] == ["a1.h0<q>", "a1.h0<k>", "a1.h0<v>"]


def test_a_graph_knows_its_edges_once_and_stays_a_key() -> None:
    asked, fresh = Graph(2, 2, 4), Graph(2, 2, 4)
    assert asked.edges is asked.edges and asked.places is asked.places and asked.exists is asked.exists
    assert asked == fresh and hash(asked) == hash(fresh) and len(asked) == len(asked.edges)
    with pytest.raises(ValueError, match="read-only"):
        asked.exists[0, 0] = False
