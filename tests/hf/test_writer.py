import dataclasses
from pathlib import Path

import jax.numpy as jnp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landed_jax.checkpoints.hf.gate import config_from_hf
from landed_jax.checkpoints.hf.writer import config_to_hf, write_checkpoint
from landed_jax.errors import LandedError
from landed_jax.files.json_object import read_json_object
from landed_jax.nn.config import ModelConfig
from tests.checkpoints import assert_same, read_folder
from tests.models import CONFIGS, configs, random_params


@given(config=configs(), mistral=st.booleans())
def test_every_config_comes_back(config: ModelConfig, mistral: bool) -> None:
    config = dataclasses.replace(config, family="mistral" if mistral else "llama")
    if config.attention_bias or config.mlp_bias if mistral else config.sliding_window is not None:
        with pytest.raises(LandedError, match="cannot be written"):
            config_to_hf(config)
        return
    if config.rope.kind not in ("llama3", "yarn"):  # the others do not read it
        config = dataclasses.replace(config, rope=dataclasses.replace(config.rope, original_max_positions=0))
    assert config_from_hf(config_to_hf(config)) == config


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_written_model_comes_back_bit_for_bit(name: str, dtype: jnp.dtype, tmp_path: Path) -> None:
    config = CONFIGS[name]
    params = random_params(config, dtype=dtype)
    write_checkpoint(tmp_path, config, params, {"bos_token_id": 1})
    fields = read_json_object(tmp_path / "config.json")
    assert fields["bos_token_id"] == 1 and fields["dtype"] == jnp.dtype(dtype).name
    assert config_from_hf(fields) == config
    assert_same(read_folder(tmp_path, config), params)
