"""gpt-oss: experts with biases and a clamped gate, in one tensor for all; attention with sinks; windows by layer."""

import dataclasses
import math
from typing import Any

from landed_jax.checkpoints.hf.fields import Fields
from landed_jax.families.family import Family
from landed_jax.families.reading import EXPERT_SWITCHES, FULL, SLIDING, experts_in, layer_kinds, require
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.rope_config import RopeConfig

_LAYER = "model.layers.{layer}."
_EXPERTS = _LAYER + "mlp.experts."
# The class's, where config.json says nothing of scaling: a model without any says so.
_ROPE = RopeConfig(
    "yarn",
    theta=150_000.0,
    factor=32.0,
    original_max_positions=4096,
    truncate=False,
    attention_factor=0.1 * math.log(32) + 1,
)


def _switches(fields: Fields, n_layers: int) -> dict[str, Any]:
    for name, value in (("swiglu_alpha", 1.702), ("swiglu_limit", 7.0), ("hidden_act", "silu")):
        if fields.take(name, value) != value:
            fields.refuse(name, f"only {value} is read")
    experts = experts_in(fields, 128, 4)
    if fields.take("experts_per_token") not in (None, experts["experts_per_token"]):
        fields.refuse("experts_per_token", "the reference reads num_experts_per_tok, which is another number")
    fields.take("initial_context_length")  # read by no class
    unscaled = fields.take("rope_scaling") is None and fields.take("rope_parameters") is None
    theta = fields.positive("rope_theta", _ROPE.theta)
    bias = fields.flag("attention_bias", True)
    window = None if fields.take("sliding_window", 128) is None else fields.whole("sliding_window", 128)
    kinds = layer_kinds(fields, [FULL if layer % 2 else SLIDING for layer in range(n_layers)])
    windowed = tuple(kind == SLIDING for kind in kinds) if window is not None else ()
    return {
        **({"rope": dataclasses.replace(_ROPE, theta=theta)} if unscaled else {}),
        "activation": "clamped_swiglu",
        "sinks": True,
        "qkv_bias": bias,
        "output_bias": bias,
        "mlp_bias": True,
        "router_bias": True,
        **experts,
        "sliding_window": window,
        "windowed_layers": windowed,
    }


def _fields(config: ModelConfig) -> dict[str, Any]:
    require(config, config.n_experts > 0, "has experts")
    require(config, config.activation == "clamped_swiglu" and config.gated_mlp, "has a clamped gate")
    require(config, config.sinks, "has sinks in attention")
    require(config, config.mlp_bias and config.router_bias, "has biases in router and experts")
    require(config, config.qkv_bias == config.output_bias, "has all biases of attention or none")
    require(config, config.router_normalised, "takes the softmax over the experts that a token uses")
    default = {"rope_scaling": {"rope_type": "default"}} if config.rope.kind == "default" else {}
    return {
        **default,
        "num_local_experts": config.n_experts,
        "num_experts_per_tok": config.experts_per_token,
        "attention_bias": config.qkv_bias,
        "sliding_window": config.sliding_window,
        "layer_types": [FULL if window is None else SLIDING for window in config.windows],
        "hidden_act": "silu",
    }


FAMILY = Family(
    name="gpt_oss",
    architecture="GptOssForCausalLM",
    switches=_switches,
    fields=_fields,
    held=EXPERT_SWITCHES
    | {"activation", "sinks", "qkv_bias", "output_bias", "mlp_bias", "router_bias"}
    | {"sliding_window", "windowed_layers", "rope"},
    defaults={
        "vocab_size": 201088,
        "hidden_size": 2880,
        "intermediate_size": 2880,
        "num_hidden_layers": 36,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
        "rope_theta": 150_000.0,
    },
    names={
        "attn/sinks": _LAYER + "self_attn.sinks",
        "experts/W_router": _LAYER + "mlp.router.weight",
        "experts/b_router": _LAYER + "mlp.router.bias",
        **dict.fromkeys(("experts/W_gate", "experts/W_up"), _EXPERTS + "gate_up_proj"),
        **dict.fromkeys(("experts/b_gate", "experts/b_up"), _EXPERTS + "gate_up_proj_bias"),
        "experts/W_down": _EXPERTS + "down_proj",
        "experts/b_down": _EXPERTS + "down_proj_bias",
    },
    transposed=frozenset({"experts/W_gate", "experts/W_up", "experts/W_down"}),
    interleaved=frozenset({"experts/W_gate", "experts/W_up", "experts/b_gate", "experts/b_up"}),
    examples=("openai/gpt-oss-20b", "openai/gpt-oss-120b"),
)
