"""The toy analysis is the mean of what `attribute` gives."""

import numpy as np

import landed_jax as landed
from landed_jax.analysis.attribution._mean_head import mean_head
from tests.models import SMALL, random_params
from tests.traces import traced


def test_it_is_the_mean() -> None:
    trace = traced(SMALL, params=random_params(SMALL))
    heads = np.asarray(landed.attribute(trace, 3).landed.heads)
    np.testing.assert_allclose(mean_head(trace, 3).mean, heads.mean(-1), rtol=1e-6)
