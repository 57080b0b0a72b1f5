"""Each write's amplification and how samples are spread, against every write made in NumPy and float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import landed_jax as landed
from landed_jax import LandedError
from landed_jax.analysis.scale._spread import PERCENTILES, spread
from landed_jax.analysis.scale._write_amplification import write_amplification
from tests.amplification import BOTH, CASES, check_spread, magnified, reference, traced
from tests.reference.landed import every_write
from tests.traces import column

spreads = jax.jit(spread)
by_write = jax.jit(lambda trace: {definition: write_amplification(trace, definition).by_write for definition in BOTH})


@given(st.lists(st.tuples(st.floats(0, 64, width=32), st.sampled_from([0, 1, 2])), min_size=1, max_size=40))
def test_spread_is_numpys_of_each_class_alone(drawn: list[tuple[float, int]]) -> None:
    with jax.enable_x64(True):
        # Of one size, so that one program serves all draws: what is left over belongs to no class.
        samples, kinds = (np.resize(values, 40) for values in zip(*drawn, strict=True))
        kinds[len(drawn) :] = -1
        chosen = np.stack([kinds == k for k in range(3)])
        found = spreads(jnp.asarray(samples), jnp.asarray(chosen))
        for k in range(3):
            check_spread(found, (k,), samples[kinds == k])


def test_quantiles_of_many_samples_stand_at_the_right_place() -> None:
    values = np.random.default_rng(0).permutation(1001).astype(np.float32)
    for size in (1, 2, 20, 21, 100, 101, 102, 999, 1001):
        found = spreads(jnp.asarray(values), jnp.arange(1001)[None] < size)
        np.testing.assert_allclose(found.quantiles[0], np.percentile(values[:size], PERCENTILES), rtol=1e-6)


@pytest.mark.quick
@pytest.mark.parametrize("name", CASES)
def test_each_write_equals_brute_force(name: str, x64: None) -> None:
    trace, numbers = reference(name)
    found = by_write(trace)
    # Few positions take the way through the vectors, many the one through Gram matrices.
    last = by_write(traced(name, "float64", at=(-1,)) if name == "small" else trace.select(-1))
    stacked = by_write(traced(name, "float64", stacked=True)) if name == "biased" else found
    assert trace.tokens.ids.size >= CASES[name].head_dim > len(trace.tokens.ids)
    for b, p in np.argwhere(np.asarray(trace.tokens.mask)):
        expected = magnified(every_write(numbers, CASES[name], b, p), numbers, CASES[name], b, p)
        for definition in BOTH:
            whole = np.nan_to_num(expected[definition])
            np.testing.assert_allclose(column(found[definition], b, p), whole, rtol=1e-9)
            np.testing.assert_allclose(column(stacked[definition], b, p), whole, rtol=1e-9)
            if p == trace.tokens.ids.shape[1] - 1:
                np.testing.assert_allclose(column(last[definition], b, 0), whole, rtol=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_a_mean_lies_below_the_root_mean_square_and_both_between_the_extremes(name: str, x64: None) -> None:
    trace = traced(name, "float64")
    mean, ratio = (by_write(trace)[definition] for definition in BOTH)
    scale = landed.amplification(trace)
    first = np.argwhere(np.asarray(trace.tokens.mask))
    for kind, sites in (("heads", trace.order.next_attn), ("neurons", trace.order.next_mlp)):
        low, high = (np.asarray(s)[sites][..., None] for s in (scale.minimum, scale.maximum))
        a, b = np.asarray(getattr(mean, kind)), np.asarray(getattr(ratio, kind))
        written = a > 0
        assert written.sum() > len(first)
        for below, over in ((low * (1 - 1e-12) + 0 * a, a), (a, b * (1 + 1e-12)), (b, high * (1 + 1e-12) + 0 * b)):
            assert (below <= over)[written].all()
        # Where blocks read the stream itself nothing is amplified: both means are 1.
        assert (a < b * (1 - 1e-6))[written].any() or not trace.config.input_norms


@pytest.mark.quick
def test_another_definition_is_refused() -> None:
    with pytest.raises(LandedError, match="write_weighted or norm_ratio"):
        write_amplification(traced("small"), "mean")  # pyright: ignore[reportArgumentType]
