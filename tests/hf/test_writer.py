import dataclasses
from pathlib import Path

import jax.numpy as jnp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landed_jax.checkpoints.hf.fields import Fields
from landed_jax.checkpoints.hf.gate import config_from_hf
from landed_jax.checkpoints.hf.writer import config_to_hf, write_checkpoint
from landed_jax.errors import LandedError
from landed_jax.families import families
from landed_jax.files.json_object import read_json_object
from landed_jax.nn.config import ModelConfig
from tests.checkpoints import assert_same, read_folder
from tests.models import CONFIGS, configs, random_params


@settings(max_examples=60)
@given(config=configs(), family=st.sampled_from(list(families())))
def test_every_config_comes_back_or_is_refused(config: ModelConfig, family: str) -> None:
    config = dataclasses.replace(config, family=family)
    if config.rope.kind not in ("llama3", "yarn", "longrope") and not config.query_growth:  # no other reads it
        config = dataclasses.replace(config, rope=dataclasses.replace(config.rope, original_max_positions=0))
    try:
        fields = config_to_hf(config)
    except LandedError as error:
        assert "cannot be written" in str(error)
    else:
        assert config_from_hf(fields) == config


@pytest.mark.quick
@pytest.mark.parametrize("family", families())
def test_every_family_is_read_and_written(family: str) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "num_key_value_heads": 1}
    spelled = {families()[family].spelled(name): value for name, value in sizes.items()}
    small = {name: value for name, value in spelled.items() if name is not None}
    config = config_from_hf({"model_type": family, **small})
    assert config.family == family and config_from_hf(config_to_hf(config)) == config
    assert set(families()[family].switches(Fields(small, []), 3)) <= {*families()[family].held, "activation"}


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_written_model_comes_back_bit_for_bit(name: str, dtype: jnp.dtype, tmp_path: Path) -> None:
    config = CONFIGS[name]
    config = dataclasses.replace(config, mlp_bias=config.mlp_bias and "mlp_bias" in families()[config.family].held)
    params = random_params(config, dtype=dtype)
    write_checkpoint(tmp_path, config, params, {"bos_token_id": 1})
    fields = read_json_object(tmp_path / "config.json")
    assert fields["bos_token_id"] == 1 and fields["dtype"] == jnp.dtype(dtype).name
    assert config_from_hf(fields) == config
    assert_same(read_folder(tmp_path, config), params)
