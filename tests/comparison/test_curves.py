"""Areas and crossings of curves that are known by hand."""

import numpy as np
import pytest

from landed_jax.comparison import FRACTIONS, Curve, kept_counts, top_masks
from landed_jax.errors import LandedError


def curve(fraction: list[float], faithfulness: list[float], components: int = 100) -> Curve:
    """Of two prompts that differ, with these values between 1 (nothing) and 5 (the whole model) in the mean."""
    kept = 1 + 4 * np.array(faithfulness)[:, None] + np.array([0.5, -0.5])
    count = np.round(np.array(fraction) * components).astype(int)
    return Curve(np.array(fraction), count, kept, np.array([6.0, 4.0]), np.array([0.0, 2.0]))


@pytest.mark.quick
def test_areas_by_hand() -> None:
    found = curve([0.0, 0.5, 1.0], [0.0, 1.5, 1.0])
    np.testing.assert_allclose(found.faithfulness, [0, 1.5, 1])
    np.testing.assert_allclose(found.cpr, 0.5 * 0.75 + 0.5 * 1.25)
    np.testing.assert_allclose(found.cmd, 0.5 * 0.75 + 0.5 * 0.25)
    line = curve(list(FRACTIONS), list(FRACTIONS), 1000)
    np.testing.assert_allclose(line.cpr, (1 - 0.001**2) / 2)
    np.testing.assert_allclose(line.cmd, 0.999 - (1 - 0.001**2) / 2)


def test_a_perfect_circuit_and_an_empty_one() -> None:
    perfect, empty = (curve(list(FRACTIONS), [value] * 10, 1000) for value in (1.0, 0.0))
    np.testing.assert_allclose([perfect.cpr, perfect.cmd, empty.cpr, empty.cmd], [0.999, 0, 0, 0.999], atol=1e-12)


def test_how_many_are_enough() -> None:
    found = curve([0.01, 0.1, 1.0], [0.2, 0.6, 1.0])
    np.testing.assert_allclose(found.enough(0.8).estimate, np.sqrt(10 * 100))
    np.testing.assert_allclose(found.enough(0.6).estimate, 10)
    np.testing.assert_allclose(curve([0.0, 0.01, 1.0], [0.0, 0.5, 1.0]).enough(0.25).estimate, 0.5)
    assert curve([0.0, 0.5, 1.0], [0.0, 0.9, 1.0]).enough(0.0).estimate == 0
    interval = found.enough(0.8)
    assert interval.low <= interval.estimate <= interval.high
    assert found.between(0.8) == 32 and curve([0.0, 0.5, 1.0], [0.0, 0.9, 1.0]).between(0.8) == 7


def test_a_finer_curve_has_the_circuits_between() -> None:
    found = curve([0.01, 0.1, 1.0], [0.2, 0.6, 1.0])
    finer = found.joined(32, 1 + 4 * 0.9 + np.array([0.5, -0.5]))
    assert finer.count.tolist() == [1, 10, 32, 100]
    np.testing.assert_allclose(finer.fraction, [0.01, 0.1, 0.32, 1])
    np.testing.assert_allclose(finer.faithfulness, [0.2, 0.6, 0.9, 1])
    assert 10 < finer.enough(0.8).estimate < found.enough(0.8).estimate
    assert finer.joined(32, np.zeros(2)) is finer


def test_intervals_hold_the_estimate() -> None:
    random = np.random.default_rng(0)
    whole = random.normal(size=30) + 8
    kept = whole * np.linspace(0, 1, 10)[:, None] + random.normal(size=(10, 30))
    found = Curve(np.array(FRACTIONS), kept_counts(1000), kept, whole, np.zeros(30))
    for name in ("cpr", "cmd"):
        interval = getattr(found, f"{name}_interval")()
        np.testing.assert_allclose(interval.estimate, getattr(found, name))
        assert interval.low < interval.estimate < interval.high


def test_counts_are_rounded_down_and_the_last_is_everything() -> None:
    assert kept_counts(46080).tolist() == [46, 92, 230, 460, 921, 2304, 4608, 9216, 23040, 46080]
    assert kept_counts(32).tolist() == [0, 0, 0, 0, 0, 1, 3, 6, 16, 32]
    with pytest.raises(LandedError, match="rise from 0 to 1"):
        kept_counts(10, [0.5, 0.2])


def test_masks_keep_the_largest_and_grow() -> None:
    scores = np.random.default_rng(0).normal(size=(3, 7))
    for absolute in (False, True):
        masks = top_masks(scores, [0, 1, 5, 21], absolute=absolute)
        assert masks.sum(axis=(1, 2)).tolist() == [0, 1, 5, 21]
        assert (masks[:-1] <= masks[1:]).all()
        sizes = np.abs(scores) if absolute else scores
        assert sizes[masks[2]].min() > sizes[~masks[2]].max()
    assert top_masks(np.zeros((2, 2)), [3], absolute=True)[0].tolist() == [[True, True], [True, False]]


def test_no_size_is_enough_where_none_is() -> None:
    short = curve([0.01, 0.1], [0.2, 0.6])
    for found in (short.enough(0.8), curve([0.0, 1.0], [0.0, 1.0]).enough(2.0)):
        assert np.isnan(found[:3]).all() and found.counted == 0
    unchanged = Curve(np.array([0.0, 1.0]), np.array([0, 9]), np.ones((2, 3)), np.ones(3), np.ones(3))
    assert np.isnan(unchanged.enough(0.8).estimate) and np.isnan(unchanged.cpr_interval()[:3]).all()


def test_one_circuit_has_no_area() -> None:
    one = curve([0.5], [0.9])
    assert np.isnan([one.cpr, one.cmd]).all() and one.cpr_interval().counted == 0


def test_a_draw_in_which_nothing_changes_does_not_spoil_the_interval() -> None:
    whole, nothing = np.array([1.0, 3.0]), np.array([1.0, 1.0])  # in one draw of four the first prompt comes alone
    kept = np.stack([nothing, (whole + nothing) / 2, whole])
    found = Curve(np.array([0.0, 0.5, 1.0]), np.array([0, 50, 100]), kept, whole, nothing)
    interval = found.cpr_interval()
    np.testing.assert_allclose(interval[:3], 0.5)
    assert 0 < interval.counted < 1000 and np.isfinite(found.enough(0.8)).all()
