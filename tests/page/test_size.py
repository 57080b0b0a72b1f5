"""A page of a long prompt in a deep model can be mailed."""

import jax
import pytest

import landed_jax as landed
from landed_jax.page import page

DEEP = landed.ModelConfig(
    vocab_size=4000, d_model=128, n_layers=32, n_heads=32, n_kv_heads=8, head_dim=8, d_ff=3072, max_positions=512
)


@pytest.mark.slow
def test_512_tokens_of_32_layers_take_less_than_10_megabytes() -> None:
    model = landed.Model.from_params(DEEP, landed.init_params(DEEP, jax.random.key(0)))
    ids = jax.random.randint(jax.random.key(1), (512,), 1, DEEP.vocab_size).tolist()
    document = model.run(ids, sections=["by_source", "detail"]).to_dict()
    assert len(document["heads"]) == 32 and len(document["tokens"]) == 512
    assert len(page(document).encode()) < 10_000_000
