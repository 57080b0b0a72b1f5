"""What was planted is what the brute-force reference sees, and what the analyses find first, by name."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax import HookPoint, LandedError
from landed_jax.nn.parameters import abstract_params, stack_layers
from landed_jax.testbed.planted import (
    MAX_BACKGROUND,
    Planted,
    cancelling_writes,
    copying_head,
    null_space_neuron,
    writing_neuron,
)
from tests.reference.landed import every_write, landed_contributions, removed_effects, shares_of_sigma
from tests.reference.numpy_model import Arrays, numpy_forward

# One of many places for each mechanism, chosen by the seed.
PLANT: dict[str, Callable[[int, float], Planted]] = {
    "copying": lambda seed, background: copying_head(
        seed % 3, (2 * seed + 1) % 6, source=seed % 7, background=background, seed=seed
    ),
    "writing": lambda seed, background: writing_neuron(seed % 3, 7 * seed % 24, background=background, seed=seed),
    "null": lambda seed, background: null_space_neuron(5 * seed % 24, background=background, seed=seed),
    "cancelling": lambda seed, background: cancelling_writes(
        seed % 2, seed % 6, 1 + seed % 2, 11 * seed % 24, background=background, seed=seed
    ),
}
SEEDS = range(7)
BACKGROUNDS = (0.0, 0.02, MAX_BACKGROUND)

each_background = pytest.mark.parametrize("background", BACKGROUNDS)
run = jax.jit(landed.forward, static_argnames=("config", "record", "dtype", "edits"))


def reference(planted: Planted, **zero: tuple[int, int]) -> Arrays:
    return numpy_forward(planted.params, planted.tokens.ids, planted.tokens.mask, planted.config, zero)


def direction(planted: Planted) -> np.ndarray:
    W_U = np.asarray(planted.params["unembed"]["W_U"], np.float64)
    return W_U[planted.target] - (0 if planted.against is None else W_U[planted.against])


def names(planted: Planted) -> list[tuple[str, int | None, int | None]]:
    return [(write.kind, write.layer, write.index) for write in planted.writes]


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


@each_background
@pytest.mark.parametrize("name", ["copying", "writing", "cancelling"])
def test_first_in_the_list_by_name(name: str, background: float) -> None:
    for seed in SEEDS:
        planted = PLANT[name](seed, background)
        shares = landed.attribute(planted.trace(), planted.target, against=planted.against)
        rows = shares.top(len(planted.writes))
        # Two that cancel are equally large, so rounding says which of them is first.
        assert sorted((row.kind, row.layer, row.index) for row in rows) == sorted(names(planted))
        assert all(row.position == write.position for row, write in zip(rows, planted.writes, strict=True))
        assert all(abs(row.landed) > 1 for row in rows)


@each_background
@pytest.mark.parametrize("name", ["copying", "writing", "cancelling"])
def test_first_by_brute_force(name: str, background: float, x64: None) -> None:
    for seed in SEEDS:
        planted = PLANT[name](seed, background)
        numbers = reference(planted)
        written = every_write(numbers, planted.config, 0, -1)
        size = np.abs(landed_contributions(written, numbers, direction(planted), planted.config, 0, -1))
        order = np.argsort(-size)
        count = len(planted.writes)
        assert sorted(written.names[u] for u in order[:count]) == sorted(names(planted))
        assert size[order[count - 1]] > 2 * size[order[count]]


@each_background
def test_copying_head_is_its_formula(background: float, x64: None) -> None:
    for seed in SEEDS:
        planted = PLANT["copying"](seed, background)
        (write,) = planted.writes
        assert write.layer is not None and write.index is not None and write.source is not None
        assert planted.prompt[write.source] == planted.target
        numbers = reference(planted)
        attention = numbers["pattern"][write.layer, 0, write.index, -1, write.source]
        assert attention > 0.999
        scale = numbers["sigma"][2 * write.layer, 0, write.source] * numbers["sigma"][-1, 0, -1]
        trace = planted.trace()
        for against in (planted.against, None):
            shares = landed.attribute(trace, planted.target, against=against)
            np.testing.assert_allclose(
                shares.landed.heads[write.layer, 0, -1, write.index], 8 * attention / scale, rtol=1e-12
            )
        other = landed.attribute(trace, planted.against).landed.heads[write.layer, 0, -1, write.index]
        assert abs(other) < 1e-14


@each_background
def test_copying_head_names_its_source(background: float) -> None:
    for source in range(7):
        planted = copying_head(source % 3, source % 6, source=source, background=background, seed=source)
        (write,) = planted.writes
        trace = planted.trace()
        row = landed.attribute(trace, planted.target, against=planted.against).top(1)[0]
        assert row.attended == write.source == source
        split = landed.attribute_by_source(trace, landed.Logit(planted.target, against=planted.against)).landed
        parts = np.asarray(split[write.layer, 0, -1, write.index])
        assert parts.argmax() == source
        assert parts[source] > 0.999 * np.abs(parts).sum()
        np.testing.assert_allclose(parts[source], row.landed, rtol=1e-5)


@pytest.mark.parametrize("source", [0, 90, 198])
def test_copying_head_is_sharp_in_a_long_prompt(source: int) -> None:
    planted = copying_head(source=source, length=200, background=MAX_BACKGROUND, seed=source)
    assert reference(planted)["pattern"][1, 0, 2, -1, source] > 0.999


@each_background
def test_writing_neuron_is_its_formula_and_alone(background: float, x64: None) -> None:
    for seed in SEEDS:
        planted = PLANT["writing"](seed, background)
        (write,) = planted.writes
        assert write.layer is not None and write.index is not None
        numbers = reference(planted)
        heard = 4 / numbers["sigma"][2 * write.layer + 1, 0, -1]
        activation = silu(heard) * heard
        trace = planted.trace()
        fired = np.asarray(trace[HookPoint.NEURON][write.layer, 0, :, write.index])
        np.testing.assert_allclose(fired[-1], activation, rtol=1e-12)
        assert not fired[:-1].any()
        part = landed.attribute(trace, planted.target, against=planted.against).landed
        neurons = np.array(part.neurons)
        np.testing.assert_allclose(
            neurons[write.layer, 0, -1, write.index], activation / numbers["sigma"][-1, 0, -1], rtol=1e-12
        )
        neurons[write.layer, 0, -1, write.index] = 0
        assert not neurons.any() and not np.asarray(part.heads).any()
        assert bool(part.embedding[0, -1]) == (background > 0)
        # The landed write is the difference of the two unembeddings, times a positive number.
        vector = np.asarray(landed.land(trace, [write], site="final")[0])
        u = direction(planted)
        np.testing.assert_allclose(vector, (vector @ u) / (u @ u) * u, atol=1e-13)
        assert vector @ u > 0


@each_background
@pytest.mark.parametrize("centred", [False, True])
def test_null_space_neuron_lands_on_no_logit(centred: bool, background: float) -> None:
    for seed in SEEDS:
        planted = PLANT["null"](seed, background)
        (write,) = planted.writes
        trace = planted.trace()

        def lands(
            token: jax.Array,
            trace: landed.Trace = trace,
            layer: int | None = write.layer,
            index: int | None = write.index,
        ) -> jax.Array:
            shares = landed.attribute(trace, landed.Logit(token, centred=centred), effects=False)
            return shares.landed.neurons[layer, 0, :, index]

        assert not np.asarray(jax.vmap(lands)(jnp.arange(planted.config.vocab_size))).any()
        assert np.asarray(landed.land(trace, [write], site="final")).any()


@each_background
def test_null_space_neuron_has_the_largest_share_of_sigma(background: float, x64: None) -> None:
    for seed in SEEDS:
        planted = PLANT["null"](seed, background)
        (write,) = planted.writes
        numbers = reference(planted)
        sigma, sigma_before = numbers["sigma"][-1, 0, -1], numbers["sigma"][-2, 0, -1]
        length = 2 * silu(4 / sigma_before) / sigma_before
        shares = landed.attribute(planted.trace(), planted.target)
        assert float(shares.landed.neurons[write.layer, 0, -1, write.index]) == 0
        share = shares.sigma_share
        assert share is not None
        mine = float(share.neurons[write.layer, 0, -1, write.index])
        np.testing.assert_allclose(mine, length**2 / (planted.config.d_model * sigma**2), rtol=1e-12)
        everyone = np.concatenate([np.ravel(share.heads[:, 0, -1]), np.ravel(share.neurons[:, 0, -1])])
        assert mine == everyone.max() == np.abs(everyone).max() and (everyone == mine).sum() == 1
        assert mine > 0.2
        written = every_write(numbers, planted.config, 0, -1)
        assert written.names[1 + np.argmax(shares_of_sigma(written, numbers, planted.config, 0, -1)[1:])] in names(
            planted
        )


@each_background
def test_null_space_neuron_acts_by_a_common_factor(background: float, x64: None) -> None:
    for seed in SEEDS:
        planted = PLANT["null"](seed, background)
        (write,) = planted.writes

        def remove(
            a: jax.Array, layer: jax.Array | None, at: int | None = write.layer, index: int | None = write.index
        ) -> jax.Array:
            return jnp.where(layer == at, a.at[..., index].set(0.0), a)

        trace = planted.trace()
        assert trace.logits is not None
        assert int(trace.logits[0, -1].argmax()) == planted.target
        without, cut = landed.forward(planted.params, planted.tokens, planted.config, edits={HookPoint.NEURON: remove})
        factor = trace[HookPoint.FINAL_SIGMA] / cut[HookPoint.FINAL_SIGMA]
        assert (np.asarray(factor) > 1.05).all()
        np.testing.assert_allclose(without, trace.logits * factor[..., None], rtol=1e-11, atol=1e-13)

        numbers, ablated = reference(planted), reference(planted, neuron=(write.layer, write.index))
        np.testing.assert_allclose(factor, numbers["sigma"][-1] / ablated["sigma"][-1], rtol=1e-12)
        np.testing.assert_allclose(without, ablated["logits"], rtol=1e-11, atol=1e-13)
        shares = landed.attribute(trace, planted.target)
        assert shares.direct_effect is not None
        effect = np.asarray(shares.direct_effect.neurons[write.layer, 0, :, write.index])
        total = (numbers["logits"] - ablated["logits"])[0, :, planted.target]
        np.testing.assert_allclose(effect, total, rtol=1e-11)
        assert np.abs(effect[-1]) > 0.1 and shares.value[0, -1] > 0.1
        written = every_write(numbers, planted.config, 0, -1)
        brute = removed_effects(written, numbers, direction(planted), planted.config, 0, -1)
        np.testing.assert_allclose(effect[-1], brute[written.names.index(names(planted)[0])], rtol=1e-11)


def cancelled(planted: Planted) -> tuple[np.ndarray, np.ndarray]:
    """The head's and the neuron's landed contributions at every position."""
    head, neuron = planted.writes
    part = landed.attribute(planted.trace(), planted.target).landed
    return (
        np.asarray(part.heads[head.layer, 0, :, head.index]),
        np.asarray(part.neurons[neuron.layer, 0, :, neuron.index]),
    )


@each_background
def test_cancelling_writes_cancel_in_float32(background: float) -> None:
    for seed in SEEDS:
        head, neuron = cancelled(PLANT["cancelling"](seed, background))
        assert (head > 1).all()
        np.testing.assert_allclose(neuron, -head, rtol=1e-6)


@each_background
def test_cancelling_writes_cancel_in_float64(background: float, x64: None) -> None:
    for seed in SEEDS:
        planted = PLANT["cancelling"](seed, background)
        head, neuron = cancelled(planted)
        np.testing.assert_allclose(neuron, -head, rtol=1e-14)
        numbers = reference(planted)
        np.testing.assert_allclose(head, 4 / numbers["sigma"][-1, 0], rtol=1e-13)
        (_, layer, index), (_, later, other) = names(planted)
        both = numbers["head_write"][layer, 0, :, index] + numbers["neuron_write"][later, 0, :, other]
        np.testing.assert_allclose(both, 0, atol=1e-14)
        # What the two leave on the target is nothing beside what each of them wrote.
        written = every_write(numbers, planted.config, 0, -1)
        contributions = landed_contributions(written, numbers, direction(planted), planted.config, 0, -1)
        places = [written.names.index(name) for name in names(planted)]
        assert abs(contributions[places].sum()) < 1e-14 * np.abs(contributions[places]).sum()


def check_forward(planted: Planted, dtype: str, bar: float) -> None:
    shapes = abstract_params(planted.config, dtype)
    assert jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), planted.params) == shapes
    gains = [leaf for path, leaf in jax.tree_util.tree_leaves_with_path(planted.params) if path[-1].key == "gamma"]
    assert len(gains) == 2 * planted.config.n_layers + 1 and all(float(jnp.std(gain)) > 0.1 for gain in gains)
    expected = reference(planted)["logits"]  # of order 1
    for params in (planted.params, stack_layers(planted.params)):
        logits, trace = run(params, planted.tokens, planted.config)
        assert logits.dtype == trace[HookPoint.FINAL_NORMED].dtype == jnp.dtype(dtype)
        np.testing.assert_allclose(logits, expected, rtol=0, atol=bar)
    np.testing.assert_allclose(planted.trace().logits, expected, rtol=0, atol=bar)


@pytest.mark.quick
@pytest.mark.parametrize("name", PLANT)
def test_forward_in_float32(name: str) -> None:
    for background in BACKGROUNDS:
        check_forward(PLANT[name](1, background), "float32", 1e-5)


@pytest.mark.parametrize("name", PLANT)
def test_forward_in_float64(name: str, x64: None) -> None:
    for background in BACKGROUNDS:
        check_forward(PLANT[name](1, background), "float64", 1e-12)


@pytest.mark.parametrize("name", PLANT)
def test_a_seed_is_one_model_and_another_is_another(name: str) -> None:
    one, again, other = (PLANT[name](seed, 0.02) for seed in (0, 0, 6))
    leaves = [np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(p.params)]) for p in (one, again, other)]
    np.testing.assert_array_equal(leaves[0], leaves[1])
    assert (one.prompt, one.target, one.writes) == (again.prompt, again.target, again.writes)
    assert not np.array_equal(leaves[0], leaves[2]) and one.prompt != other.prompt


@pytest.mark.parametrize(
    ("plant", "message"),
    [
        (lambda: copying_head(layer=3), "layers run from 0 to 2"),
        (lambda: copying_head(head=6), "heads run from 0 to 5"),
        (lambda: copying_head(source=7), "source column 7"),
        (lambda: copying_head(source=-1), "source column -1"),
        (lambda: writing_neuron(neuron=24), "neurons run from 0 to 23"),
        (lambda: writing_neuron(background=0.2), "background"),
        (lambda: null_space_neuron(neuron=-1), "neurons run from 0 to 23"),
        (lambda: null_space_neuron(background=-0.1), "background"),
        (lambda: cancelling_writes(head_layer=2, neuron_layer=2), "does not come after"),
    ],
)
def test_what_cannot_be_planted_is_refused(plant: Callable[[], Planted], message: str) -> None:
    with pytest.raises(LandedError, match=message):
        plant()
