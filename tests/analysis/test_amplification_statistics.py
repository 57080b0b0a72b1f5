"""Statistics of the three definitions of amplification, against every write made in NumPy and float64."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax import HookPoint, LandedError, Tokens
from landed_jax.analysis.scale._amplification_statistics import (
    AmplificationStatistics,
    amplification_by_coordinate,
    amplification_statistics,
)
from landed_jax.analysis.scale._position_classes import position_classes
from landed_jax.analysis.scale._write_amplification import write_amplification
from tests.amplification import BOTH, CASES, DELIMITERS, check_spread, magnified, reference, run, traced
from tests.models import SMALL, n_sites, random_params, random_tokens
from tests.reference.landed import every_write
from tests.traces import numbers

statistics = jax.jit(lambda trace: amplification_statistics(trace, delimiters=DELIMITERS))


@pytest.mark.parametrize(("name", "stacked"), [*((name, False) for name in CASES), ("biased", True)])
def test_statistics_are_those_of_all_samples_of_a_class(name: str, stacked: bool, x64: None) -> None:
    config = CASES[name]
    trace, numbers = reference(name)
    found = statistics(traced(name, "float64", stacked))
    classes = np.asarray(position_classes(trace, delimiters=DELIMITERS).members)
    samples: dict[tuple[str, int, int], list[float]] = {}
    for c, b, p in np.argwhere(classes):
        for site in range(n_sites(config)):
            own = np.abs(numbers["gamma"][site]) / numbers["sigma"][site, b, p]
            samples.setdefault(("per_coordinate", site, c), []).extend(own)
        written = every_write(numbers, config, b, p)
        for definition, values in magnified(written, numbers, config, b, p).items():
            for (kind, _, _), site, value in zip(written.names, written.sites, values, strict=True):
                if "bias" not in kind and not np.isnan(value):
                    samples.setdefault((definition, int(site), c), []).append(value)
    assert classes.any((1, 2)).all()
    for definition in ("per_coordinate", *BOTH):
        part = getattr(found, definition)
        assert part.count.shape == (n_sites(config), 3)
        for site in range(n_sites(config)):
            for c in range(3):
                check_spread(part, (site, c), np.array(samples.get((definition, site, c), [])))
    if name == "silent":
        assert int(found.of("neurons").norm_ratio.count.sum()) < classes.sum() * config.d_ff * config.n_layers
        assert int(found.of("heads").norm_ratio.count.sum()) == classes.sum() * (config.n_heads * config.n_layers - 1)


@pytest.mark.quick
def test_kinds_are_the_sites_where_they_next_land() -> None:
    found, n_layers = statistics(traced("small")), SMALL.n_layers
    assert found.of("embedding").norm_ratio.quantiles.shape == (3, 5)
    for layer in range(n_layers):
        for kind, site in (("heads", 2 * layer + 1), ("neurons", 2 * layer + 2)):
            for mine, whole in zip(numbers(found.of(kind)), numbers(found), strict=True):
                np.testing.assert_array_equal(mine[layer], whole[site])
    for kind in ("heads", "neurons"):
        assert found.of(kind).per_coordinate.count.shape == (n_layers, 3)
    with pytest.raises(LandedError, match="not a kind"):
        found.of("biases")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("name", CASES)
def test_by_coordinate_is_each_coordinates_spread_over_positions(name: str, x64: None) -> None:
    trace, numbers = reference(name)
    found = jax.jit(lambda t: amplification_by_coordinate(t, delimiters=DELIMITERS))(trace)
    classes = np.asarray(position_classes(trace, delimiters=DELIMITERS).members)
    for site in range(n_sites(CASES[name])):
        for c in range(3):
            for k in (0, CASES[name].d_model - 1):
                samples = abs(numbers["gamma"][site, k]) / numbers["sigma"][site][classes[c]]
                check_spread(found, (site, c, k), samples)


def test_classes_never_mix() -> None:
    trace = traced("small")
    first = trace.tokens.positions == 0
    louder = {
        name: jnp.where(first[None] if value.ndim == 3 else first, value * 100, value)
        for name, value in trace.sown.items()
        if name.endswith("_sigma")
    }
    before, after = statistics(trace), statistics(dataclasses.replace(trace, sown={**trace.sown, **louder}))
    for definition in ("per_coordinate", *BOTH):
        old, new = getattr(before, definition), getattr(after, definition)
        np.testing.assert_allclose(new.maximum[:, 0], old.maximum[:, 0] / 100, rtol=1e-5)
        for x, y in zip(numbers(old), numbers(new), strict=True):
            np.testing.assert_array_equal(x[:, 1:], y[:, 1:])


def test_padding_is_no_sample() -> None:
    params, tokens = random_params(SMALL), random_tokens(SMALL, lengths=(4, 4))  # of seven columns with the padding
    wider = Tokens(*(jnp.pad(value, ((0, 0), (3, 0))) for value in (tokens.ids, tokens.mask)))
    traces = [run(params, batch, SMALL)[1].bind(params) for batch in (tokens, wider)]
    alone, padded = (statistics(trace) for trace in traces)
    for x, y in zip(numbers(alone), numbers(padded), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4)


def test_a_prompt_of_one_token_has_one_class() -> None:
    params = random_params(SMALL)
    _, trace = run(params, jnp.array([[3]]), SMALL)
    found = statistics(trace.bind(params))
    np.testing.assert_array_equal(found.per_coordinate.count, np.array([[SMALL.d_model, 0, 0]] * n_sites(SMALL)))
    assert np.isfinite(found.norm_ratio.quantiles[:, 0]).all() and np.isnan(found.norm_ratio.quantiles[:, 1:]).all()


def test_bfloat16_weights_are_cast_not_altered() -> None:
    narrow = random_params(SMALL, dtype=jnp.bfloat16)
    wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), narrow)
    tokens = random_tokens(SMALL, lengths=(7, 4))
    found = [statistics(run(p, tokens, SMALL)[1].bind(p)) for p in (narrow, wide)]
    for x, y in zip(*map(numbers, found), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5)


def test_under_vmap_each_prompt_has_its_own_statistics() -> None:
    trace = traced("small")

    def row(batch: jax.Array) -> AmplificationStatistics:
        def one(value: jax.Array, name: str) -> jax.Array:
            if "batch" not in trace.axes(HookPoint(name)):
                return value
            return jnp.take(value, batch[None], axis=trace.axes(HookPoint(name)).index("batch"))

        tokens = jax.tree.map(lambda leaf: leaf[batch][None], trace.tokens)
        sown = {name: one(value, name) for name, value in trace.sown.items()}
        mine = dataclasses.replace(trace, provenance=dataclasses.replace(trace.provenance, tokens=tokens), sown=sown)
        return amplification_statistics(mine, delimiters=DELIMITERS)

    many, alone = jax.jit(jax.vmap(row))(jnp.arange(2)), jax.jit(row)
    for batch in range(2):
        one = alone(jnp.asarray(batch))
        for whole, mine in ((many, one), (many.of("heads"), one.of("heads"))):
            for x, y in zip(numbers(whole), numbers(mine), strict=True):
                np.testing.assert_allclose(x[batch], y, rtol=2e-5)


def test_grad_matches_finite_differences(x64: None) -> None:
    # A neuron of 0 and a class without samples must not turn the slope into NaN.
    config = dataclasses.replace(SMALL, activation="relu2", n_layers=1)
    params, ids = random_params(config, dtype=jnp.float64), jnp.array([[1, 5, 3, 7]])
    random = np.random.default_rng(0)
    step = jax.tree.map(lambda leaf: jnp.asarray(random.standard_normal(leaf.shape)), params)

    @jax.jit
    def value(params: dict) -> jax.Array:
        _, trace = landed.forward(params, ids, config)
        trace = trace.bind(params)
        found = amplification_statistics(trace, delimiters=[])
        parts = [
            write_amplification(trace, "norm_ratio").by_write.total(),
            write_amplification(trace, "write_weighted").by_write.total(),
        ]
        spreads = [found.per_coordinate, found.norm_ratio, found.write_weighted]
        chosen = [part.quantiles[:, [0, 2]] + part.maximum[:, [0, 2], None] for part in spreads]
        return sum(jnp.sum(part) for part in (*parts, *chosen))

    slopes = jax.jit(jax.grad(value))(params)
    slope = sum(jnp.sum(g * s) for g, s in zip(jax.tree.leaves(slopes), jax.tree.leaves(step), strict=True))
    ahead, behind = (value(jax.tree.map(lambda v, s, h=h: v + h * s, params, step)) for h in (1e-7, -1e-7))
    assert abs(slope) > 1e-3
    np.testing.assert_allclose(slope, (ahead - behind) / 2e-7, rtol=1e-5)


@pytest.mark.parametrize("prompt", [[1], [1, 5, 3]])
def test_the_slope_by_coordinate_is_finite_where_classes_are_empty(prompt: list[int]) -> None:
    # Of one token: no delimiter and no other; of the last of three alone: no first and no delimiter.
    params = random_params(SMALL)

    @jax.jit
    def value(size: jax.Array) -> jax.Array:
        grown = params | {"embed": {"W_E": params["embed"]["W_E"] * size}}
        _, trace = landed.forward(grown, jnp.array([prompt]), SMALL, at=jnp.array([-1]))
        found = amplification_by_coordinate(trace, delimiters=[])
        return sum(jnp.nansum(part) for part in (found.minimum, found.quantiles, found.maximum))

    assert jnp.isfinite(jax.grad(value)(1.0)) and jax.grad(value)(1.0) < 0


def test_what_is_missing_is_named() -> None:
    _, unbound = run(random_params(SMALL), random_tokens(SMALL), SMALL)
    for call in (
        lambda: amplification_statistics(unbound, delimiters=[]),
        lambda: write_amplification(unbound, "norm_ratio").by_write,
    ):
        with pytest.raises(LandedError, match="bind"):
            call()
    assert amplification_by_coordinate(unbound, delimiters=[]).count.shape == (5, 3, 12)
    trace = traced("small")
    without = dataclasses.replace(trace, sown={k: v for k, v in trace.sown.items() if k != HookPoint.NEURON})
    with pytest.raises(LandedError, match="did not record neuron"):
        amplification_statistics(without, delimiters=[])
    with pytest.raises(LandedError, match="no tokenizer"):
        amplification_statistics(trace)
