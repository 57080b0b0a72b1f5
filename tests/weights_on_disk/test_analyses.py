"""A model whose weights are on disk gives what it gives with the weights in memory."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax import LandedError
from landed_jax.analysis.reduce import top_writes
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import abstract_params, stack_layers
from landed_jax.nn.weights_on_disk import WeightOnDisk, in_memory
from landed_jax.tasks import Pairs
from tests.analysis.test_registry import ANALYSES, EXPERTS, OTHER, call
from tests.models import SMALL, random_params
from tests.weights_on_disk.leaves import Shelf

PAIRS = Pairs(
    landed.Tokens.from_lists([[1, 5, 2]]), landed.Tokens.from_lists([[1, 6, 2]]), jnp.array([[4]]), jnp.array([[2]])
)
IDS = landed.Tokens.from_lists([[1, 5, 2], [3, 8]])
MODELS = {"small": SMALL, "other": OTHER, "experts": EXPERTS, "tied": dataclasses.replace(SMALL, tie_embeddings=True)}
FEW = ("attribute", "logit_lens")
EACH = [name if name in FEW else pytest.param(name, marks=pytest.mark.slow) for name in ANALYSES]
each_model = pytest.mark.parametrize("config", MODELS.values(), ids=MODELS)


def both(config: ModelConfig) -> tuple[landed.Model, landed.Model, Shelf]:
    params, shelf = random_params(config), Shelf()
    return landed.Model(config, params), landed.Model(config, shelf.on_disk(params)), shelf


def assert_close(found: Any, expected: Any) -> None:
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        if not isinstance(a, WeightOnDisk):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@each_model
def test_the_forward_pass(config: ModelConfig) -> None:
    memory, disk, shelf = both(config)
    record = landed.WRITES | landed.RESIDUALS
    found, expected = disk.trace(IDS, record=record), memory.trace(IDS, record=record)
    assert_close((found.logits, found.sown), (expected.logits, expected.sown))
    layer_reads = {name: count for name, count in shelf.reads.items() if name.startswith("layers")}
    assert set(layer_reads.values()) == {1}
    assert all(name.startswith("landed-weights") for name in shelf.threads)
    assert config.tie_embeddings or "embed/W_E" not in shelf.reads
    assert shelf.rows["embed/W_E"] == len(set(np.asarray(IDS.ids).ravel().tolist()))


@pytest.mark.parametrize("name", EACH)
@pytest.mark.parametrize(
    "config", [SMALL, pytest.param(OTHER, marks=pytest.mark.slow), pytest.param(EXPERTS, marks=pytest.mark.slow)]
)
def test_every_analysis(config: ModelConfig, name: str) -> None:
    memory, disk, _ = both(config)
    analysis = ANALYSES[name]
    found, expected = (call(analysis, model.trace(IDS, record=analysis.record)) for model in (disk, memory))
    assert_close(found, expected)


@pytest.mark.parametrize("passes", [1, 2])
def test_streamed_attribution(passes: Any) -> None:
    memory, disk, shelf = both(SMALL)
    found, expected = (
        model.attribute_streaming(IDS, top_writes(3), 4, effects=True, passes=passes) for model in (disk, memory)
    )
    assert_close(found, expected)
    assert {count for name, count in shelf.reads.items() if name.startswith("layers")} <= {1, 2}


@pytest.mark.parametrize(
    "question",
    [landed.Neuron(1, 5, "gate"), landed.Head(1, 2, "key", jnp.ones(4)), landed.Logit(4, centred=True)],
    ids=["neuron", "head", "centred"],
)
def test_questions_of_one_layer(question: Any) -> None:
    memory, disk, shelf = both(SMALL)
    traces = [model.trace(IDS, record=landed.WRITES | landed.RESIDUALS) for model in (disk, memory)]
    shelf.reads.clear()
    found, expected = (landed.resolve(trace, question) for trace in traces)
    assert_close(found, expected)
    assert len(shelf.reads) <= 1  # a neuron's row by itself


def test_the_pure_function() -> None:
    memory, disk, _ = both(SMALL)
    found, expected = (landed.forward(model.params, IDS, SMALL)[0] for model in (disk, memory))
    assert_close(found, expected)


@pytest.mark.parametrize(
    "run",
    [
        lambda model: landed.interventions.effects_table(model, [[1, 5, 2]], 4, 2),
        lambda model: landed.interventions.gradients(model, [[1, 5, 2]], 4, [landed.HookPoint.HEAD]),
        lambda model: landed.circuits.edge_attribution(model, PAIRS).mean,
    ],
    ids=["sweep", "gradients", "circuit"],
)
def test_what_runs_the_model_again(run: Any) -> None:
    memory, disk, _ = both(SMALL)
    assert_close(run(disk), run(memory))


def test_passes_over_the_layers_share_each_read() -> None:
    _, disk, shelf = both(SMALL)
    trace = disk.trace(IDS)
    shelf.reads.clear()
    landed.attribute(trace, 4, effects=True)
    assert shelf.reads == {f"layers/{i}/{leaf}": 1 for i in range(2) for leaf in ("attn/W_O", "mlp/W_down")}


def test_programs_of_the_user_are_refused() -> None:
    _, disk, _ = both(SMALL)
    refused = [
        lambda: jax.jit(lambda params: landed.forward(params, IDS, SMALL)[0])(disk.params),
        lambda: jax.jit(lambda ids: landed.forward(disk.params, ids, SMALL)[0])(IDS.ids),
        lambda: jax.vmap(lambda ids: disk.trace(ids[None]).logits)(IDS.ids),
        lambda: stack_layers(disk.params),
    ]
    for run in refused:
        with pytest.raises(LandedError, match="stay on disk"):
            run()


def test_a_weight_looks_like_an_array() -> None:
    params = random_params(SMALL)
    disk = Shelf().on_disk(params)
    leaf, there = disk["layers"]["1"]["attn"]["W_Q"], params["layers"]["1"]["attn"]["W_Q"]
    assert (leaf.shape, leaf.dtype, leaf.ndim, leaf.nbytes, len(leaf)) == (
        (there.shape, there.dtype, 3, there.nbytes, len(there))
    )
    np.testing.assert_array_equal(leaf, there)
    np.testing.assert_array_equal(leaf[-1], there[-1])
    np.testing.assert_array_equal(leaf[1, 2], there[1, 2])
    np.testing.assert_array_equal(leaf[:, 2], there[:, 2])
    assert jax.tree.structure(in_memory(disk)) == jax.tree.structure(abstract_params(SMALL))
