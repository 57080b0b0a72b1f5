"""Direct effects after a soft-cap, against brute force."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax.analysis.attribution import capped_effects
from landed_jax.nn.config import ModelConfig
from tests.models import CONFIGS, LAYER_NORM, random_params
from tests.reference.landed import every_write, heard, sigma_of
from tests.reference.numpy_model import numpy_forward, soft_capped
from tests.traces import column, real_positions, traced, unembedding

CONFIG = CONFIGS["both_norms"]
CENTRED = dataclasses.replace(LAYER_NORM, logit_cap=1.5)


@pytest.mark.quick
@pytest.mark.parametrize("against", [None, 2])
@pytest.mark.parametrize("config", [CONFIG, CENTRED], ids=["both_norms", "layer_norm"])
def test_equal_brute_force(config: ModelConfig, against: int | None, x64: None) -> None:
    params = random_params(config, dtype=jnp.float64)
    trace = traced(config, params=params)
    numbers, W_U = numpy_forward(params, trace.tokens.ids, trace.tokens.mask, config), unembedding(params, config)
    beta = params["final_norm"].get("beta", 0)
    found = capped_effects(trace, landed.Logit(3, against=against))
    for b, p in real_positions(trace):
        stream = numbers["residual"][-1, b, p]

        def value(x: np.ndarray) -> float:
            normed = heard(x, config) / sigma_of(x, config) * numbers["gamma"][-1] + beta
            logits = soft_capped(W_U @ normed, config.logit_cap)
            return logits[3] - (0 if against is None else logits[against])

        expected = [value(stream) - value(stream - lost) for lost in every_write(numbers, config, b, p).lost]
        np.testing.assert_allclose(column(found.effect, b, p), expected, atol=1e-11)
        np.testing.assert_allclose(found.value[b, p], value(stream), atol=1e-12)


def test_without_a_cap_they_are_the_direct_effects() -> None:
    trace = traced(CONFIGS["small"])
    plain = landed.attribute(trace, landed.Logit(3, centred=True)).direct_effect
    np.testing.assert_array_equal(capped_effects(trace, landed.Logit(3, centred=True)).effect.heads, plain.heads)


def test_small_effects_keep_their_digits_in_float32() -> None:
    # A cap far above the logits changes nothing: the effects before it must come back, the small ones too.
    config = dataclasses.replace(CONFIG, logit_cap=1e4)
    trace = traced(config, params=random_params(config))
    plain = landed.attribute(trace, 3).direct_effect
    np.testing.assert_allclose(capped_effects(trace, 3).effect.neurons, plain.neurons, rtol=1e-4, atol=1e-9)


def test_a_centred_logit_has_no_cap() -> None:
    with pytest.raises(landed.LandedError, match="ask for a token"):
        capped_effects(traced(CONFIG), landed.Logit(3, centred=True))
