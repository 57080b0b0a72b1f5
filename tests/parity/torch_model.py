"""Tiny random models of `transformers`, in float32 and truly in float64."""

import contextlib
import copy
from collections.abc import Sequence
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    PreTrainedConfig,
    PreTrainedModel,
)

from landed_jax.families import families, wrappers
from landed_jax.parity.float64 import float64_throughout

SIZES = {
    "vocab_size": 23,
    "hidden_size": 32,
    "intermediate_size": 44,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-3,
}


# What a family's class has in another size than is tiny.
DEFAULTS: dict[str, dict[str, Any]] = {
    "mistral": {"sliding_window": None},
    "ministral3": {"head_dim": 8, "pad_token_id": None},
    "qwen3": {"head_dim": 8},
    "gemma": {"head_dim": 8},
    "gemma2": {"head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 4},
    "gemma3_text": {"head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 4},
    "olmo2": {"pad_token_id": None},
    "olmo3": {"pad_token_id": None, "sliding_window": 3, "layer_types": ["sliding_attention", "full_attention"]},
    "phi3": {"pad_token_id": None},
    "smollm3": {"pad_token_id": None},
    "mixtral": {"num_local_experts": 4, "intermediate_size": 20},
    "qwen3_moe": {"num_local_experts": 5, "num_experts_per_tok": 2, "moe_intermediate_size": 12, "head_dim": 8},
    "olmoe": {"num_experts": 6, "num_experts_per_tok": 3, "intermediate_size": 12, "pad_token_id": None}
    | {"eos_token_id": None},
    "gpt_oss": {"num_local_experts": 4, "num_experts_per_tok": 2, "intermediate_size": 12, "head_dim": 8}
    | {"sliding_window": 4, "rope_parameters": {"rope_type": "default", "rope_theta": 150.0}},
}
VISION = {
    "hidden_size": 16,
    "intermediate_size": 20,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}


def hf_config(kind: str = "llama", **fields: Any) -> PreTrainedConfig:
    """A tiny configuration; `fields` override `SIZES`, under Llama's names or the family's own, in a larger model's
    `text_config`.
    """
    fields = copy.deepcopy(fields)  # a configuration class changes the objects that it is given
    if (wrapper := wrappers().get(kind)) is None:
        values = {**SIZES, **DEFAULTS.get(kind, {}), **fields}
        spelled = {families()[kind].spelled(name): value for name, value in values.items()}
        return AutoConfig.for_model(kind, **{name: value for name, value in spelled.items() if name is not None})
    tied = {name: fields.pop(name) for name in ("tie_word_embeddings",) if name in fields}
    text = {"model_type": wrapper.texts[0], **fields}
    text = {**SIZES, **DEFAULTS.get(text["model_type"], {}), **text}
    return AutoConfig.for_model(kind, text_config=text, vision_config=dict(VISION), **tied)


def auto_class(kind: str) -> Any:
    """The class that makes a model of this kind, with the map to logits."""
    return AutoModelForImageTextToText if kind in wrappers() else AutoModelForCausalLM


def tiny_model(config: PreTrainedConfig, seed: int = 0) -> PreTrainedModel:
    """A random float32 model whose every parameter matters.

    `transformers` starts biases at 0, gains at 1 and weights so small that attention is uniform: each would hide a
    mistake.
    """
    model = (
        auto_class(config.model_type)
        .from_config(config, attn_implementation="eager", experts_implementation="eager")
        .eval()
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim == 1 and name.endswith("weight"):
                parameter.copy_(1 + 0.4 * noise)
            elif name.endswith("bias"):
                parameter.copy_(0.3 * noise)
            else:
                sharp = 1.5 if any(part in name for part in ("q_proj", "k_proj", "c_attn", "query_key_value")) else 1.0
                parameter.copy_(sharp * noise * parameter.shape[-1] ** -0.5)
    return model


def in_float64(model: PreTrainedModel) -> PreTrainedModel:
    """The same weights in a model whose rotary tables were made in float64; run it under `float64_throughout`."""
    with float64_throughout():
        config = type(model.config).from_dict(model.config.to_dict())
        double = (
            type(model)
            ._from_config(config, dtype=torch.float64, attn_implementation="eager", experts_implementation="eager")
            .eval()
        )
    double.load_state_dict(model.state_dict())
    return double


def torch_logits(model: PreTrainedModel, prompts: Sequence[Sequence[int]]) -> torch.Tensor:
    """Logits of left-padded prompts, in the model's own type; rows of padding hold whatever `transformers` makes."""
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(p)) + list(p) for p in prompts])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    throughout = float64_throughout() if model.dtype == torch.float64 else contextlib.nullcontext()
    with torch.no_grad(), throughout:
        return model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False).logits
