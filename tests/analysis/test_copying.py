"""OV copying: ranks of a token's own logit against NumPy's products, and the planted copying head."""

import jax.numpy as jnp
import numpy as np
import pytest

from landed_jax import SOURCES, WRITES
from landed_jax.analysis.attribution import copying
from landed_jax.testbed.planted import CONFIG, copying_head
from tests.models import CONFIGS, NAMES, random_params
from tests.reference.numpy_model import numpy_forward
from tests.traces import real_positions, traced, unembedding


@pytest.mark.parametrize("name", NAMES)
def test_ranks_are_those_of_the_heads_output(name: str, x64: None) -> None:
    config = CONFIGS[name]
    params = random_params(config, dtype=jnp.float64)
    trace = traced(config, record=WRITES | SOURCES, params=params)
    found = copying(trace)
    ref, W_U = numpy_forward(params, trace.tokens.ids, trace.tokens.mask, config), unembedding(params, config)
    for b, k in real_positions(trace):
        token = int(trace.tokens.ids[b, k])
        for layer in range(config.n_layers):
            W_O = np.asarray(params["layers"][str(layer)]["attn"]["W_O"])
            for head in range(config.n_heads):
                write = W_O[:, head] @ ref["v"][layer, b, k, head // config.group_size] * ref["attn_scale"][layer, b, k]
                write = write - write.mean() if config.norm == "layer" else write
                logits = W_U @ (write * ref["gamma"][-1])
                place = layer, b, k, head
                assert int(found.above[place]) == (logits > logits[token]).sum()
                assert int(found.below[place]) == (logits < logits[token]).sum()
                expected = (logits[token] - logits.mean()) / logits.std()
                np.testing.assert_allclose(found.deviations[place], expected, atol=1e-8)


def test_of_all_heads_the_planted_one_copies_most() -> None:
    planted = copying_head(layer=2, head=1, source=4)
    found = copying(planted.trace())
    deviations = np.asarray(found.deviations[:, 0, 4])
    assert np.unravel_index(deviations.argmax(), deviations.shape) == (2, 1)
    assert bool(found.copied(1)[2, 0, 4, 1]) and not bool(found.suppressed(5)[2, 0, 4, 1])
    negative = type(planted)(
        planted.config, _negated(planted.params, 2, 1), planted.prompt, planted.target, planted.against, planted.writes
    )
    assert bool(copying(negative.trace()).suppressed(1)[2, 0, 4, 1])


def _negated(params: dict, layer: int, head: int) -> dict:
    """The same model, one head's output with the other sign."""
    at = params["layers"][str(layer)]
    attn = {**at["attn"], "W_O": at["attn"]["W_O"].at[:, head].multiply(-1)}
    return {**params, "layers": {**params["layers"], str(layer): {**at, "attn": attn}}}


def test_what_writes_nothing_has_no_deviation() -> None:
    planted = copying_head(background=0.0)
    found = copying(planted.trace())
    assert float(found.deviations[0, 0, 0, 0]) == 0 and np.isfinite(found.deviations).all()
    assert found.above.shape == (CONFIG.n_layers, 1, 8, CONFIG.n_heads)
    # The heads of the background write 0: every logit is equal, and no token stands before another.
    assert not found.copied()[0].any() and not found.suppressed()[0].any()
