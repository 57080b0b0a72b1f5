"""OLMo 3: OLMo 2 with windows in three of four layers, which keep the unscaled rotary embedding."""

from typing import Any

from landed_jax.checkpoints.hf.fields import Fields
from landed_jax.families.family import Family
from landed_jax.families.olmo2 import DEFAULTS, NAMES, olmo_fields, olmo_switches
from landed_jax.families.reading import FULL, SLIDING, layer_kinds
from landed_jax.nn.config import ModelConfig


def _switches(fields: Fields, n_layers: int) -> dict[str, Any]:
    window = None if fields.take("sliding_window", 4096) is None else fields.whole("sliding_window", 4096)
    kinds = layer_kinds(fields, [SLIDING if (layer + 1) % 4 else FULL for layer in range(n_layers)])
    if window is None and SLIDING in kinds:
        fields.refuse("sliding_window", f"layer_types has layers of {SLIDING}")
    windowed = tuple(kind == SLIDING for kind in kinds) if window else ()
    return {**olmo_switches(fields), "sliding_window": window, "windowed_layers": windowed}


def _fields(config: ModelConfig) -> dict[str, Any]:
    kinds = [FULL if window is None else SLIDING for window in config.windows]
    return {**olmo_fields(config), "sliding_window": config.sliding_window, "layer_types": kinds}


FAMILY = Family(
    name="olmo3",
    architecture="Olmo3ForCausalLM",
    switches=_switches,
    fields=_fields,
    held=frozenset(
        {"input_norms", "output_norms", "qk_norm", "qkv_bias", "output_bias"}
        | {"sliding_window", "windowed_layers", "local_rope"}
    ),
    defaults={**DEFAULTS, "rope_theta": 500_000.0},
    ignorable=frozenset({"mlp_bias", "clip_qkv"}),
    names=NAMES,
    examples=("allenai/Olmo-3-7B-Instruct", "allenai/Olmo-3-32B-Think"),
)
