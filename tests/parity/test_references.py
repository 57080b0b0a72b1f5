"""The two references know nothing of each other: where they agree to float64's rounding, both are float64."""

import numpy as np
import pytest

from tests.parity.cases import CASES, EACH
from tests.parity.conversion import convert
from tests.parity.torch_model import hf_config, in_float64, tiny_model, torch_logits
from tests.reference.numpy_model import numpy_forward

PROMPT = [3, 14, 15, 9, 2, 6, 5, 3, 5, 8, 9]


@pytest.mark.parametrize("case", EACH)
def test_numpy_agrees_with_transformers_in_float64(case: str) -> None:
    kind, fields = CASES[case]
    model = tiny_model(hf_config(kind, **fields))
    config, params = convert(model)
    theirs = torch_logits(in_float64(model), [PROMPT]).numpy()
    ours = numpy_forward(params, [PROMPT], None, config)
    assert theirs.dtype == np.float64
    np.testing.assert_allclose(ours["logits"], theirs, rtol=0, atol=1e-14 * np.abs(theirs).max())


def test_the_writes_sum_to_the_stream() -> None:
    kind, fields = CASES["all_biases_full_heads_tied"]
    config, params = convert(tiny_model(hf_config(kind, **fields)))
    run = numpy_forward(params, [PROMPT], None, config)
    writes = run["head_write"].sum((0, 3)) + run["neuron_write"].sum((0, 3))
    biases = run["attn_bias"].sum(0) + run["mlp_bias"].sum(0)
    np.testing.assert_allclose(run["embedding"] + writes + biases, run["residual"][-1], rtol=0, atol=1e-14)
