"""Phi-3, Phi-3.5 and Phi-4: Llama whose products of one input are one tensor each; heads may rotate in part."""

from typing import Any

from landed_jax.checkpoints.hf.fields import Fields
from landed_jax.families.family import Family
from landed_jax.families.reading import FULL, SLIDING, all_layers_alike, refuse_if_set, require
from landed_jax.nn.config import ModelConfig

_LAYER = "model.layers.{layer}."
_QKV, _GATE_UP = _LAYER + "self_attn.qkv_proj.weight", _LAYER + "mlp.gate_up_proj.weight"


def _switches(fields: Fields, n_layers: int) -> dict[str, Any]:
    window = None if fields.take("sliding_window") is None else fields.whole("sliding_window", 1)
    all_layers_alike(fields, n_layers, FULL if window is None else SLIDING)
    for name in ("attention_bias", "mlp_bias", "lm_head_bias"):
        refuse_if_set(fields, name, "the reference Phi-3 has no biases and would ignore them")
    for name in ("full_attn_mod", "interpolate_factor"):  # of the code that came with Phi-4-mini: 1 says nothing
        if fields.take(name, 1) not in (None, 1):
            fields.refuse(name, "the reference Phi-3 does not read it")
    return {"sliding_window": window}


def _fields(config: ModelConfig) -> dict[str, Any]:
    require(config, config.rope.kind in ("default", "longrope"), "has no rotary scaling but longrope")
    return {
        "sliding_window": config.sliding_window,
        "original_max_position_embeddings": config.rope.original_max_positions or 4096,
        "pad_token_id": None,  # the class's default is beyond a small vocabulary
    }


FAMILY = Family(
    name="phi3",
    architecture="Phi3ForCausalLM",
    switches=_switches,
    fields=_fields,
    held=frozenset({"sliding_window", "rotary_dim"}),
    defaults={
        "vocab_size": 32064,
        "hidden_size": 3072,
        "intermediate_size": 8192,
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 4096,
        "original_max_position_embeddings": 4096,
    },
    names={
        **dict.fromkeys(("attn/W_Q", "attn/W_K", "attn/W_V"), _QKV),
        **dict.fromkeys(("mlp/W_gate", "mlp/W_up"), _GATE_UP),
    },
    # Early folders say su, and the reference takes yarn for it too.
    rope_kinds={"default": "default", "longrope": "longrope", "su": "longrope", "yarn": "longrope"},
    ignorable=frozenset(
        {"layer_types", "attention_bias", "mlp_bias", "lm_head_bias", "full_attn_mod", "interpolate_factor"}
    ),
    examples=("microsoft/Phi-3-mini-4k-instruct", "microsoft/phi-4", "microsoft/Phi-4-mini-instruct"),
)
