"""Observers of one layer's writes, and reductions of one's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax import HookPoint, Model, Tokens
from landed_jax.analysis.reduce import Reduction
from landed_jax.nn.parameters import stack_layers
from tests.models import SMALL, random_params


def test_observers_and_reductions_know_padding_and_columns() -> None:
    whole, prompts = landed.Model(SMALL, random_params(SMALL)), [[1, 5, 7, 2], [3]]
    both = whole.trace(prompts, record=(), observers={"count": _positive}).observed["count"]
    alone = [whole.trace([p], record=(), observers={"count": _positive}).observed["count"][:, 0] for p in prompts]
    np.testing.assert_array_equal(both, np.stack(alone, axis=1))
    reduced = whole.attribute_streaming(prompts, Reduction(_seen), 1, at=[-1, 0], passes=2).reduced
    assert reduced["at"].tolist() == [[3, 0]] * 2 and reduced["real"][0].tolist() == [[True, True], [True, False]]
    trace = whole.trace(prompts, at=[-1, 0])
    np.testing.assert_allclose(reduced["a"], trace[HookPoint.NEURON], atol=1e-6)
    norms = [jnp.linalg.norm(landed.writes.write_vector(trace, landed.Write("neuron", 1, j, 1))) for j in range(3)]
    np.testing.assert_allclose(np.sqrt(reduced["norms"][1, 1, 0, :3]), norms, rtol=1e-5)


def _positive(writes: landed.nn.LayerWrites) -> jax.Array:
    return jnp.sum((writes.a > 0) & writes.real[..., None], axis=(1, 2))


def _seen(shares: landed.reduce.LayerShares) -> dict:
    writes = shares.writes
    return {"at": writes.at, "real": writes.real, "a": writes.a, "norms": writes.squared_norms().neurons}


def test_a_reduction_of_ones_own_and_its_observer(usual_promotion: None) -> None:
    whole, tokens = landed.Model(SMALL, random_params(SMALL)), Tokens.from_lists([[1, 5, 7]])
    mine = whole.attribute_streaming(tokens, Reduction(_loudest_head), 1, passes=2).reduced
    heads = np.asarray(landed.attribute(whole.trace(tokens), 1).landed.heads)
    np.testing.assert_array_equal(mine, np.abs(heads).argmax(-1))
    trace, every = whole.trace(tokens, record=(), observers={"norms": _norms}), whole.trace(tokens)
    heads = [
        [float(jnp.linalg.norm(landed.writes.write_vector(every, landed.Write("head", layer, h)))) for h in range(4)]
        for layer in range(2)
    ]
    np.testing.assert_allclose(np.sqrt(trace.observed["norms"][:, 0, -1]), heads, rtol=1e-5)
    assert not trace.sown


def _loudest_head(shares: landed.reduce.LayerShares) -> jax.Array:
    return jnp.argmax(jnp.abs(shares.landed.heads), axis=-1)


def _norms(writes: landed.nn.LayerWrites) -> jax.Array:
    return writes.squared_norms().heads


def test_equal_reductions_are_one_and_compile_once() -> None:
    for make in (
        lambda: landed.reduce.top_writes(3),
        lambda: landed.reduce.top_per_position(3),
        lambda: landed.reduce.histogram((0.0,)),
    ):
        assert make() is make()
    assert landed.reduce.top_writes(np.int64(3)) is landed.reduce.top_writes(3)
    assert landed.reduce.histogram(np.array([0.0, 1.0])) is landed.reduce.histogram([0.0, 1.0])


def test_what_is_not_a_number_is_not_hidden() -> None:
    params = random_params(SMALL)
    params["embed"]["W_E"] = params["embed"]["W_E"].at[0].set(jnp.nan)
    broken = Model(SMALL, params)
    top = broken.attribute_streaming([[0, 1, 2], [1, 2, 3]], landed.reduce.top_writes(500), 1, passes=1).reduced
    parts = broken.attribute_streaming([[0, 1, 2], [1, 2, 3]], landed.reduce.histogram((0.0,)), 1, passes=1).reduced
    assert np.isnan(top.landed[0]) and top.there.all()
    good = np.asarray(top.batch) == 1
    assert np.isfinite(top.landed[good]).all() and good.sum() == 3 * 2 * 14
    assert int(parts.neurons.sum()) == 3 * 2 * 10


@pytest.mark.parametrize("hold", [lambda params: params, stack_layers], ids=["subtrees", "stacked"])
def test_observers_may_have_any_name_and_give_plain_numbers(hold) -> None:
    names = ("0", "attn", "mlp_norm", "by_name")
    trace = Model(SMALL, hold(random_params(SMALL))).trace(
        [[1, 5]], record=(), at=np.array([-1], np.int8), observers=dict.fromkeys(names, _one)
    )
    assert set(trace.observed) == set(names)
    for found in trace.observed.values():
        assert found["one"].tolist() == [1.0, 1.0] and found["layer"].tolist() == [0, 1]
    assert trace.at.tolist() == [1]


def _one(writes: landed.nn.LayerWrites) -> dict:
    return {"one": 1.0, "layer": writes.layer}
