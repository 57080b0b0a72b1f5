"""Circuits: faithfulness, what stands where edges are cut, the choice of edges, files."""

import itertools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax.circuits import (
    Graph,
    circuit_values,
    connected,
    edge_attribution,
    faithfulness,
    greedy_edges,
    read_circuit,
    top_edges,
    write_circuit,
)
from landed_jax.errors import LandedError
from landed_jax.nn.hook_points import HookPoint
from tests.circuits.cases import MEASURE, model_of, pairs_for, patched_only, reference_writes, run
from tests.circuits.test_split import by_hand
from tests.models import CONFIGS, NAMES

GRAPH = Graph(2, 2, 4)


def test_faithfulness_of_everything_and_of_nothing(x64: None) -> None:
    model, pairs = model_of(CONFIGS["small"]), pairs_for(CONFIGS["small"])
    edges = len(Graph.of(model.config))
    masks = jnp.stack([jnp.ones(edges), jnp.zeros(edges), jnp.arange(edges, dtype=float) % 2])
    found = faithfulness(model, pairs, masks)
    np.testing.assert_allclose(found.faithfulness[:2], [1, 0], atol=1e-12)
    whole, empty, half = (np.mean(row) for row in (found.whole, found.empty, found.value[2]))
    np.testing.assert_allclose(found.faithfulness[2], (half - empty) / (whole - empty), rtol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_zero_and_mean_in_place_of_a_write(name: str, x64: None) -> None:
    model, pairs = model_of(CONFIGS[name]), pairs_for(CONFIGS[name])
    graph, own = Graph.of(model.config), reference_writes(model, pairs.clean)
    stream = np.asarray(run(model, pairs.clean)[HookPoint.FINAL_RESIDUAL])[:, -1]
    senders = ["a0.h1", "m0"]
    masks = np.concatenate([patched_only(graph, sender, "logits") for sender in senders])
    places = [graph.senders.index(sender) for sender in senders]
    zero = circuit_values(model, pairs, masks, "zero", measure=MEASURE)
    np.testing.assert_allclose(zero, by_hand(model, stream - own[places, :, -1]), rtol=0, atol=1e-12)
    data = pairs_for(CONFIGS[name], (4, 2, 5)).corrupted
    later = np.asarray(data.mask & (data.positions > 0))
    mean = reference_writes(model, data)[places][:, later].mean(1)
    found = circuit_values(model, pairs, masks, "mean", data=data, measure=MEASURE)
    np.testing.assert_allclose(found, by_hand(model, stream + mean[:, None] - own[places, :, -1]), rtol=0, atol=1e-12)


def test_first_tokens_have_a_mean_of_their_own(x64: None) -> None:
    """Prompts of one token are all first tokens: their mean is over first tokens alone."""
    model, pairs = model_of(CONFIGS["small"]), pairs_for(CONFIGS["small"], (1, 1))
    graph, own = Graph.of(model.config), reference_writes(model, pairs.clean)
    stream = np.asarray(run(model, pairs.clean)[HookPoint.FINAL_RESIDUAL])[:, -1]
    data, place = pairs_for(CONFIGS["small"], (4, 2, 5)).corrupted, graph.senders.index("m1")
    first = np.asarray(data.mask & (data.positions == 0))
    mean = reference_writes(model, data)[place][first].mean(0)
    found = circuit_values(model, pairs, patched_only(graph, "m1", "logits"), "mean", data=data, measure=MEASURE)
    np.testing.assert_allclose(found[0], by_hand(model, stream + mean - own[place, :, -1]), rtol=0, atol=1e-12)


def on_a_path(kept: np.ndarray) -> np.ndarray:
    """By following every path from the input."""
    after = {sender: [] for sender in GRAPH.senders}
    for edge in np.flatnonzero(kept):
        sender, read = GRAPH.edges[edge].split("->")
        after[sender].append((edge, read.split("<")[0]))
    found = np.zeros(len(kept), bool)

    def follow(node: str, path: tuple[int, ...]) -> None:
        if node == "logits":
            found[list(path)] = True
        for edge, reader in after.get(node, []):
            follow(reader, (*path, edge))

    follow("input", ())
    return found


def test_connected_edges_are_those_on_paths() -> None:
    random = np.random.default_rng(0)
    shapes = set()
    for _ in range(40):
        kept = random.random(len(GRAPH)) < 0.25
        expected = on_a_path(kept)
        np.testing.assert_array_equal(connected(GRAPH, jnp.asarray(kept)), expected)
        shapes.add((bool(expected.any()), bool((kept & ~expected).any())))
    assert shapes >= {(True, True), (False, True)}


def test_the_largest_edges() -> None:
    scores = np.random.default_rng(1).normal(size=len(GRAPH)).astype(np.float32)
    for count, absolute in itertools.product((0, 7, len(GRAPH)), (True, False)):
        size = np.abs(scores) if absolute else scores
        kept = np.asarray(top_edges(GRAPH, scores, count, absolute=absolute, pruned=False))
        assert kept.sum() == count and (not 0 < count < len(size) or size[kept].min() > size[~kept].max())
        pruned = top_edges(GRAPH, scores, count, absolute=absolute)
        np.testing.assert_array_equal(pruned, on_a_path(kept))
    np.testing.assert_array_equal(jax.jit(lambda s: top_edges(GRAPH, s, 7))(scores), top_edges(GRAPH, scores, 7))
    with pytest.raises(LandedError, match="no 99 edges"):
        top_edges(GRAPH, scores, 99)
    for choose, count in itertools.product((top_edges, greedy_edges), (2.5, True)):
        with pytest.raises(LandedError, match=f"no {count} edges"):
            choose(GRAPH, scores, count)
    for choose in (top_edges, greedy_edges):
        with pytest.raises(LandedError, match=r"score of input->a0\.h1<q> is NaN"):
            choose(GRAPH, np.where(np.arange(len(GRAPH)) == 1, np.nan, scores), 3)
    with pytest.raises(LandedError, match=r"shape \[46\], not \[3\]"):
        top_edges(GRAPH, scores[:3], 1)


def test_greedy_edges_by_trying_every_candidate() -> None:
    scores = np.random.default_rng(2).normal(size=len(GRAPH)).astype(np.float32)
    for count in (1, 5, 12, len(GRAPH)):
        kept: set[int] = set()
        for _ in range(count):
            inside = {"logits"} | {GRAPH.edges[edge].split("->")[0] for edge in kept}
            open_ = [e for e, name in enumerate(GRAPH.edges) if name.split("->")[1].split("<")[0] in inside]
            kept |= {max(set(open_) - kept, key=lambda edge: abs(scores[edge]))}
        expected = np.isin(np.arange(len(GRAPH)), list(kept))
        np.testing.assert_array_equal(greedy_edges(GRAPH, scores, count), on_a_path(expected))


@pytest.mark.quick
@pytest.mark.parametrize("graph", [GRAPH, Graph(1, 3, 8, parallel=True)])
def test_a_circuit_goes_through_its_file(graph: Graph, tmp_path: Path) -> None:
    scores = np.random.default_rng(0).normal(size=len(graph)).astype(np.float32)
    inside = np.asarray(top_edges(graph, scores, len(graph) // 2))
    write_circuit(tmp_path / "circuit.json", graph, scores, inside)
    found = read_circuit(tmp_path / "circuit.json")
    assert found.graph == graph
    np.testing.assert_array_equal(found.scores, scores)
    np.testing.assert_array_equal(found.in_circuit, inside)
    document = json.loads((tmp_path / "circuit.json").read_text())
    assert list(document) == ["cfg", "nodes", "edges"] and set(document["nodes"]) == {*graph.senders, "logits"}
    names = {name for edge in np.flatnonzero(inside) for name in [graph.edges[edge].split("->")[0]]}
    assert {name for name, node in document["nodes"].items() if node["in_graph"]} == names | {"logits"}


def test_scores_alone_put_every_edge_in(tmp_path: Path) -> None:
    model, pairs = model_of(CONFIGS["small"], dtype=np.float32), pairs_for(CONFIGS["small"])
    scores = edge_attribution(model, pairs)
    write_circuit(tmp_path / "circuit.json", scores.graph, scores.mean)
    assert read_circuit(tmp_path / "circuit.json").in_circuit.all()


def test_what_is_no_circuit_is_refused(tmp_path: Path) -> None:
    path, cfg = tmp_path / "circuit.json", {"n_layers": 1, "n_heads": 1, "d_model": 4, "parallel_attn_mlp": False}
    edge = {"score": 1.0, "in_graph": True}
    documents = {
        "n_layers of its cfg": {"edges": {}},
        "n_heads of its cfg is True": {"cfg": cfg | {"n_heads": True}, "edges": {}},
        "parallel_attn_mlp of its cfg": {"cfg": cfg | {"parallel_attn_mlp": 1}, "edges": {}},
        "more edges than are read": {"cfg": cfg | {"n_layers": 1000, "n_heads": 1000}, "edges": {}},
        "it has no edges": {"cfg": cfg, "edges": []},
        "an edge 'm0->m0'": {"cfg": cfg, "edges": {"m0->m0": edge}},
        "input->m0 without a score": {"cfg": cfg, "edges": {"input->m0": {"in_graph": True}}},
        "m0->logits without a score": {"cfg": cfg, "edges": {"m0->logits": edge | {"score": float("nan")}}},
        "a0.h0->m0 without a score": {"cfg": cfg, "edges": {"a0.h0->m0": 3}},
    }
    for message, document in documents.items():
        path.write_text(json.dumps(document))
        with pytest.raises(LandedError, match=message):
            read_circuit(path)
    path.unlink()
    with pytest.raises(LandedError, match="not all finite"):
        write_circuit(path, GRAPH, np.full(len(GRAPH), np.nan))
    with pytest.raises(LandedError, match="has 46 scores"):
        write_circuit(path, GRAPH, np.zeros(3))
    assert not list(tmp_path.iterdir())


def test_the_best_edges_of_the_bundled_model_keep_its_answer() -> None:
    """The circuit of the largest edges keeps more than as many of the smallest."""
    from landed_jax.tasks import answered, pairs_of
    from landed_jax.testbed.prompts import tasks

    model = landed.load()
    [pairs] = pairs_of(answered(model, tasks()["indirect object"], 8))
    scores = edge_attribution(model, pairs, steps=5)
    best, worst = (top_edges(scores.graph, sign * scores.mean, 400, absolute=False) for sign in (1, -1))
    kept = faithfulness(model, pairs, jnp.stack([best, worst])).faithfulness
    assert kept[0] > 0.5 > kept[1]
