"""Mixtral: Mistral with experts, of which two work on each token; their weights are the softmax over the two."""

from typing import Any

from landed_jax.checkpoints.hf.fields import Fields
from landed_jax.families.family import Family
from landed_jax.families.reading import EXPERT_SWITCHES, experts_in, refuse_if_set, require
from landed_jax.nn.config import ModelConfig

_MOE = "model.layers.{layer}.block_sparse_moe."
_EXPERT = _MOE + "experts.{expert}."


def _switches(fields: Fields, n_layers: int) -> dict[str, Any]:
    for name in ("attention_bias", "mlp_bias"):
        refuse_if_set(fields, name, "the reference Mixtral has no biases and would ignore them")
    window = None if fields.take("sliding_window") is None else fields.whole("sliding_window", 1)
    return {**experts_in(fields, 8, 2), "sliding_window": window}


def _fields(config: ModelConfig) -> dict[str, Any]:
    require(config, config.n_experts > 0, "has experts")
    require(config, config.router_normalised, "takes the softmax over the experts that a token uses")
    return {
        "num_local_experts": config.n_experts,
        "num_experts_per_tok": config.experts_per_token,
        "sliding_window": config.sliding_window,
    }


FAMILY = Family(
    name="mixtral",
    architecture="MixtralForCausalLM",
    switches=_switches,
    fields=_fields,
    held=EXPERT_SWITCHES | {"sliding_window"},
    defaults={
        "intermediate_size": 14336,
        "num_key_value_heads": 8,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
        "rope_theta": 1_000_000.0,
    },
    names={
        "experts/W_router": _MOE + "gate.weight",
        "experts/W_gate": _EXPERT + "w1.weight",
        "experts/W_up": _EXPERT + "w3.weight",
        "experts/W_down": _EXPERT + "w2.weight",
    },
    ignorable=frozenset({"attention_bias", "mlp_bias"}),
    examples=("mistralai/Mixtral-8x7B-v0.1", "mistralai/Mixtral-8x22B-v0.1"),
)
