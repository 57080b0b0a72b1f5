"""The largest numbers beside NumPy's stable sort, by selection and by sort."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landed_jax.nn.largest import largest, selected
from landed_jax.nn.runs import runs_in


@given(
    st.lists(st.sampled_from([-np.inf, -2.5, -1e-38, 0.0, 1e-45, 1.0, 1.5, 3e38, np.inf]), min_size=1, max_size=40),
    st.data(),
)
def test_selected_are_the_first_of_the_largest(numbers: list[float], data: st.DataObject) -> None:
    values = np.array(numbers, np.float32)
    count = data.draw(st.integers(1, len(numbers)))
    expected = np.sort(np.argsort(-values.astype(np.float64), kind="stable")[:count])
    np.testing.assert_array_equal(selected(jnp.asarray(values), count), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_of_rows_as_top_k(dtype: str, x64: None) -> None:
    values = jnp.asarray(np.random.default_rng(0).standard_normal((2, 3, 5000)), dtype)
    found, places = largest(values, 70)
    for one, other in zip((found, places), jax.lax.top_k(values, 70), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(np.sort(places, axis=-1), selected(values, 70))


def test_runs_divide_and_hold_enough() -> None:
    for size in (1, 9, 64, 96, 1536, 14336):
        for count in (1, 10, 1000):
            assert size % runs_in(size, count) == 0
            assert runs_in(size, count) == 1 or size // runs_in(size, count) >= count
