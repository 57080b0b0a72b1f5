"""The configurations that the ladder climbs: between them, every switch that the package honours."""

from typing import Any

import pytest

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 100.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
YARN = {"rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0, "original_max_position_embeddings": 64}
# Few turns over the original context, so that the ramp between them crosses the few pairs of a tiny head.
RAMP = {"beta_fast": 4.0, "beta_slow": 0.5}
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 10_000.0, "factor": 3.0}
# One prompt is shorter than the original length, another longer.
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 100.0,
    "short_factor": [1.0, 1.1, 1.3, 1.7],
    "long_factor": [1.0, 2.0, 3.5, 6.0],
    "original_max_position_embeddings": 6,
}
# Queries of these prompts grow in steps.
GROWTH = {"llama_4_scaling_beta": 0.4, "original_max_position_embeddings": 3}

WINDOW = {"use_sliding_window": True, "sliding_window": 4}


def rope(**parameters: Any) -> dict[str, Any]:
    return {"rope_parameters": parameters}


ROPE_CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "rope_theta": ("llama", rope(rope_type="default", rope_theta=500.0)),
    "rope_theta_old_spelling": ("llama", {"rope_theta": 500.0}),
    "linear": ("llama", rope(rope_type="linear", rope_theta=10_000.0, factor=2.5)),
    "linear_old_spelling": ("llama", {"rope_theta": 500.0, "rope_scaling": {"type": "linear", "factor": 2.5}}),
    "dynamic_shorter": ("llama", rope(**DYNAMIC)),
    "dynamic_longer": ("llama", {"max_position_embeddings": 6, **rope(**DYNAMIC)}),
    "dynamic_old_spelling": (
        "llama",
        {"max_position_embeddings": 6, "rope_scaling": {"rope_type": "dynamic", "factor": 2.0}},
    ),
    "llama3": ("llama", {"head_dim": 16, **rope(**LLAMA3)}),
    "yarn": ("llama", {"head_dim": 16, **rope(**YARN)}),
    "yarn_ramp": ("llama", {"head_dim": 16, **rope(**YARN, **RAMP)}),
    "yarn_not_truncated": ("llama", {"head_dim": 16, **rope(**YARN, **RAMP, truncate=False)}),
    "yarn_mscale": ("llama", {"head_dim": 16, **rope(**YARN, **RAMP, mscale=1.0, mscale_all_dim=0.5)}),
    "yarn_attention_factor": ("mistral", {"head_dim": 16, **rope(**YARN, **RAMP, attention_factor=1.3)}),
    "ministral3_yarn": ("ministral3", {"head_dim": 16, **rope(**{**YARN, **RAMP, **GROWTH})}),
    "ministral3_no_growth": ("ministral3", rope(**{**YARN, **GROWTH, "llama_4_scaling_beta": 0.0})),
    "longrope": ("llama", rope(**LONGROPE)),
    "longrope_factor": ("llama", rope(**LONGROPE, factor=2.0)),
    "phi3_longrope": ("phi3", {**rope(**LONGROPE), "original_max_position_embeddings": 6}),
    "phi3_longrope_old_spelling": (
        "phi3",
        {
            "original_max_position_embeddings": 6,
            "rope_theta": 100.0,
            "rope_scaling": {"type": "yarn", "short_factor": [1.0, 1.5, 2.0], "long_factor": [1.0, 2.0, 4.0]},
            "partial_rotary_factor": 0.75,
        },
    ),
    "phi3_longrope_attention_factor": (
        "phi3",
        {**rope(**LONGROPE, attention_factor=1.3), "original_max_position_embeddings": 64},
    ),
}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "full_heads": ("llama", {"num_key_value_heads": 4}),
    "grouped": ("llama", {}),
    "multi_query": ("llama", {"num_key_value_heads": 1}),
    "head_dim_wider": ("llama", {"head_dim": 12}),
    "head_dim_narrower": ("mistral", {"head_dim": 4}),
    "one_layer": ("llama", {"num_hidden_layers": 1}),
    "tied": ("llama", {"tie_word_embeddings": True}),
    "large_eps": ("llama", {"rms_norm_eps": 0.3}),
    "attention_bias": ("llama", {"attention_bias": True}),
    "mlp_bias": ("llama", {"mlp_bias": True}),
    "all_biases_full_heads_tied": (
        "llama",
        {"attention_bias": True, "mlp_bias": True, "num_key_value_heads": 4, "tie_word_embeddings": True},
    ),
    "mistral": ("mistral", {}),
    "mistral_window": ("mistral", {"sliding_window": 4}),
    "mistral_window_one": ("mistral", {"sliding_window": 1, "tie_word_embeddings": True}),
    "mistral_window_wider_than_prompt": ("mistral", {"sliding_window": 50, "num_key_value_heads": 1}),
    "qwen2": ("qwen2", {}),
    "qwen2_tied_multi_query": ("qwen2", {"num_key_value_heads": 1, "tie_word_embeddings": True}),
    "qwen2_windows_from_a_layer_on": ("qwen2", {**WINDOW, "max_window_layers": 1}),
    "qwen2_windows_everywhere": ("qwen2", {**WINDOW, "max_window_layers": 0}),
    "qwen2_windows_by_layer": ("qwen2", {**WINDOW, "layer_types": ["sliding_attention", "full_attention"]}),
    "qwen2_window_unused": ("qwen2", {"use_sliding_window": False, "sliding_window": 3, "max_window_layers": 0}),
    "qwen2_yarn": ("qwen2", {"head_dim": 16, **rope(**YARN, **RAMP)}),
    "qwen3": ("qwen3", {}),
    "qwen3_wide_heads": ("qwen3", {"head_dim": 16, "rms_norm_eps": 0.3}),
    "qwen3_biases_full_heads": ("qwen3", {"attention_bias": True, "num_key_value_heads": 4}),
    "qwen3_tied_multi_query": ("qwen3", {"num_key_value_heads": 1, "tie_word_embeddings": True}),
    "qwen3_windows_from_a_layer_on": ("qwen3", {**WINDOW, "max_window_layers": 1}),
    "qwen3_yarn": ("qwen3", {"head_dim": 16, **rope(**YARN, **RAMP)}),
    "smollm3": ("smollm3", {"no_rope_layers": [1, 0]}),
    "smollm3_interval": ("smollm3", {"no_rope_layer_interval": 2, "tie_word_embeddings": False}),
    "smollm3_windows": ("smollm3", {**WINDOW, "no_rope_layers": [0, 1]}),
    "smollm3_windows_by_layer": ("smollm3", {**WINDOW, "layer_types": ["sliding_attention", "full_attention"]}),
    "smollm3_biases": ("smollm3", {"attention_bias": True, "mlp_bias": True, "no_rope_layers": [0, 0]}),
    "smollm3_yarn": ("smollm3", {"head_dim": 16, "no_rope_layers": [0, 1], **rope(**YARN, **RAMP)}),
    "gemma": ("gemma", {}),
    "gemma_wide_heads": ("gemma", {"head_dim": 16, "rms_norm_eps": 0.3}),
    "gemma_multi_query": ("gemma", {"num_key_value_heads": 1}),
    "gemma_biases_full_heads": ("gemma", {"attention_bias": True, "num_key_value_heads": 4}),
    "gemma_untied": ("gemma", {"tie_word_embeddings": False}),
    "gemma_legacy_activation": ("gemma", {"hidden_act": "gelu"}),
    "gpt2": ("gpt2", {}),
    "gpt2_untied": ("gpt2", {"tie_word_embeddings": False}),
    "gpt2_mlp_four_times_as_wide": ("gpt2", {"n_inner": None}),
    "gpt2_relu_large_eps": ("gpt2", {"activation_function": "relu", "layer_norm_epsilon": 0.3}),
    "gpt2_exact_gelu_one_layer": ("gpt2", {"activation_function": "gelu", "n_layer": 1}),
    "gpt2_one_wide_head": ("gpt2", {"n_head": 1}),
    "gpt2_odd_heads": ("gpt2", {"n_embd": 35, "n_head": 5}),
    "gpt2_without_norms": ("gpt2", {"layer_norm_epsilon": 1e12}),
    "gpt2_upcast": ("gpt2", {"reorder_and_upcast_attn": True}),
    "gpt2_unscaled": ("gpt2", {"scale_attn_weights": False}),
    "gpt_neox": ("gpt_neox", {}),
    "gpt_neox_one_after_the_other": ("gpt_neox", {"use_parallel_residual": False}),
    "gpt_neox_whole_heads_tied": ("gpt_neox", {"rotary_pct": 1.0, "tie_word_embeddings": True}),
    "gpt_neox_half_heads": ("gpt_neox", {"rotary_pct": 0.5, "rotary_emb_base": 100}),
    "gpt_neox_no_biases_of_attention": ("gpt_neox", {"attention_bias": False, "hidden_act": "gelu_new"}),
    "gpt_neox_large_eps": ("gpt_neox", {"layer_norm_eps": 0.3, "num_hidden_layers": 1, "hidden_act": "gelu_fast"}),
    "gpt_neox_linear": (
        "gpt_neox",
        rope(rope_type="linear", rope_theta=500.0, factor=2.5, partial_rotary_factor=0.75),
    ),
    "gpt_neox_dynamic": ("gpt_neox", {"max_position_embeddings": 6, **rope(**DYNAMIC, partial_rotary_factor=0.5)}),
    "gemma2": ("gemma2", {}),
    "gemma2_windows_by_layer": (
        "gemma2",
        {"sliding_window": 3, "layer_types": ["full_attention", "sliding_attention"], "head_dim": 16},
    ),
    "gemma2_low_caps": ("gemma2", {"attn_logit_softcapping": 0.5, "final_logit_softcapping": 1.5}),
    "gemma2_no_caps": ("gemma2", {"attn_logit_softcapping": None, "final_logit_softcapping": None}),
    "gemma2_query_scale_multi_query": ("gemma2", {"query_pre_attn_scalar": 3, "num_key_value_heads": 1}),
    "gemma2_biases_untied": (
        "gemma2",
        {"attention_bias": True, "tie_word_embeddings": False, "hidden_activation": "gelu", "num_key_value_heads": 4},
    ),
    "gemma2_large_eps": ("gemma2", {"rms_norm_eps": 0.3, "sliding_window": 1}),
    "gemma3_text": ("gemma3_text", {}),
    "gemma3_text_old_spelling": (
        "gemma3_text",
        {"rope_local_base_freq": 20.0, "rope_theta": 500.0, "rope_scaling": {"rope_type": "linear", "factor": 8.0}},
    ),
    "gemma3_text_windows_by_layer": (
        "gemma3_text",
        {"sliding_window": 2, "layer_types": ["full_attention", "sliding_attention"], "rms_norm_eps": 0.3},
    ),
    "gemma3_text_pattern": ("gemma3_text", {"sliding_window_pattern": 2, "query_pre_attn_scalar": 3}),
    "gemma3_text_capped": ("gemma3_text", {"final_logit_softcapping": 1.5, "num_key_value_heads": 1}),
    "gemma3_text_biases_untied": (
        "gemma3_text",
        {"attention_bias": True, "tie_word_embeddings": False, "num_key_value_heads": 4, "head_dim": 16},
    ),
    "gemma3": ("gemma3", {"sliding_window": 2}),
    "gemma3_untied": ("gemma3", {"tie_word_embeddings": False, "num_key_value_heads": 1}),
    "gemma3_windows_by_layer": ("gemma3", {"layer_types": ["full_attention", "sliding_attention"], "head_dim": 16}),
    "gemma3_old_spelling": (
        "gemma3",
        {"sliding_window_pattern": 2, "rope_scaling": {"rope_type": "linear", "factor": 8.0}, "rms_norm_eps": 0.3},
    ),
    "gemma3_query_scale": ("gemma3", {"query_pre_attn_scalar": 3, "sliding_window": 1}),
    "gemma3_biases_full_heads": ("gemma3", {"attention_bias": True, "num_key_value_heads": 4}),
    "olmo2": ("olmo2", {}),
    "olmo2_full_heads_large_eps": ("olmo2", {"num_key_value_heads": 4, "rms_norm_eps": 0.3}),
    "olmo2_multi_query_tied": ("olmo2", {"num_key_value_heads": 1, "tie_word_embeddings": True}),
    "olmo2_biases": ("olmo2", {"attention_bias": True}),
    "olmo2_one_layer": ("olmo2", {"num_hidden_layers": 1, "hidden_act": "gelu"}),
    "olmo2_linear": ("olmo2", rope(rope_type="linear", rope_theta=500.0, factor=2.5)),
    "olmo3": ("olmo3", {}),
    "olmo3_windows_by_layer": ("olmo3", {"layer_types": ["full_attention", "sliding_attention"]}),
    "olmo3_yarn": ("olmo3", {"head_dim": 16, "rope_scaling": {**YARN, **RAMP}, "rope_theta": 100.0}),
    "olmo3_multi_query_tied": ("olmo3", {"num_key_value_heads": 1, "tie_word_embeddings": True}),
    "olmo3_biases_large_eps": ("olmo3", {"attention_bias": True, "rms_norm_eps": 0.3}),
    "olmo3_window_one_full_heads": ("olmo3", {"sliding_window": 1, "num_key_value_heads": 4}),
    "granite": ("granite", {}),
    "granite_all_factors": (
        "granite",
        {
            "embedding_multiplier": 6.0,
            "attention_multiplier": 0.2,
            "residual_multiplier": 0.22,
            "logits_scaling": 8.0,
            "tie_word_embeddings": True,
        },
    ),
    "granite_biases": ("granite", {"attention_bias": True, "mlp_bias": True, "residual_multiplier": 0.22}),
    "granite_multi_query": ("granite", {"num_key_value_heads": 1, "attention_multiplier": 0.0078125}),
    "granite_large_eps": ("granite", {"rms_norm_eps": 0.3, "logits_scaling": 0.3, "embedding_multiplier": 12}),
    "granite_linear": (
        "granite",
        {"residual_multiplier": 0.5, **rope(rope_type="linear", rope_theta=500.0, factor=2.5)},
    ),
    "phi3": ("phi3", {}),
    "phi3_window": ("phi3", {"sliding_window": 4, "tie_word_embeddings": True}),
    "phi3_partial": ("phi3", {"partial_rotary_factor": 0.75, "num_key_value_heads": 1}),
    "phi3_wide_heads": ("phi3", {"head_dim": 16, "num_key_value_heads": 4, "rms_norm_eps": 0.3}),
    "mistral3": ("mistral3", {}),
    "mistral3_untied": ("mistral3", {"tie_word_embeddings": False}),
    "mistral3_window": ("mistral3", {"sliding_window": 4, "head_dim": 12}),
    "mistral3_multi_query": ("mistral3", {"num_key_value_heads": 1, **rope(rope_type="default", rope_theta=500.0)}),
    "mistral3_ministral3": (
        "mistral3",
        {"model_type": "ministral3", "head_dim": 16, **rope(**{**YARN, **RAMP, **GROWTH})},
    ),
    "mistral3_ministral3_untied": (
        "mistral3",
        {"model_type": "ministral3", "tie_word_embeddings": False, "sliding_window": 3},
    ),
    "ministral3": ("ministral3", {}),
    "ministral3_tied_multi_query": ("ministral3", {"num_key_value_heads": 1, "tie_word_embeddings": True}),
    "ministral3_window": ("ministral3", {"sliding_window": 4, **rope(rope_type="default", rope_theta=50.0, **GROWTH)}),
    "ministral3_large_eps_full_heads": (
        "ministral3",
        {"rms_norm_eps": 0.3, "num_key_value_heads": 4, **rope(rope_type="linear", factor=2.0, **GROWTH)},
    ),
    "mixtral": ("mixtral", {}),
    "mixtral_one_of_many": ("mixtral", {"num_local_experts": 9, "num_experts_per_tok": 1, "sliding_window": 4}),
    "mixtral_all_of_two": ("mixtral", {"num_local_experts": 2, "tie_word_embeddings": True}),
    "mixtral_wide_heads": ("mixtral", {"head_dim": 16, "num_key_value_heads": 1, "rms_norm_eps": 0.3}),
    "mixtral_gelu_full_heads": ("mixtral", {"hidden_act": "gelu", "num_key_value_heads": 4}),
    "mixtral_linear_one_layer": (
        "mixtral",
        {"num_hidden_layers": 1, **rope(rope_type="linear", rope_theta=500.0, factor=2.5)},
    ),
    "qwen3_moe": ("qwen3_moe", {}),
    "qwen3_moe_normalised": ("qwen3_moe", {"norm_topk_prob": True}),
    "qwen3_moe_biases_full_heads": (
        "qwen3_moe",
        {"attention_bias": True, "num_key_value_heads": 4, "num_experts_per_tok": 1},
    ),
    "qwen3_moe_window_tied": (
        "qwen3_moe",
        {"use_sliding_window": True, "sliding_window": 3, "tie_word_embeddings": True, "norm_topk_prob": True},
    ),
    "qwen3_moe_many_large_eps": (
        "qwen3_moe",
        {"num_local_experts": 16, "num_experts_per_tok": 6, "rms_norm_eps": 0.3, "num_key_value_heads": 1},
    ),
    "qwen3_moe_yarn": ("qwen3_moe", {"head_dim": 16, "norm_topk_prob": True, **rope(**YARN, **RAMP)}),
    "olmoe": ("olmoe", {}),
    "olmoe_normalised": ("olmoe", {"norm_topk_prob": True, "num_key_value_heads": 1}),
    "olmoe_biases_full_heads": ("olmoe", {"attention_bias": True, "num_key_value_heads": 4}),
    "olmoe_tied_large_eps": ("olmoe", {"tie_word_embeddings": True, "rms_norm_eps": 0.3}),
    "olmoe_one_of_two_one_layer": ("olmoe", {"num_experts": 2, "num_experts_per_tok": 1, "num_hidden_layers": 1}),
    "olmoe_linear": ("olmoe", {"hidden_act": "gelu", **rope(rope_type="linear", rope_theta=500.0, factor=2.5)}),
    "gpt_oss": ("gpt_oss", {}),
    "gpt_oss_windows_by_layer": (
        "gpt_oss",
        {"layer_types": ["full_attention", "sliding_attention"], "sliding_window": 2},
    ),
    "gpt_oss_no_biases_of_attention": ("gpt_oss", {"attention_bias": False, "num_key_value_heads": 4}),
    "gpt_oss_yarn": ("gpt_oss", {"head_dim": 16, **rope(**YARN, **RAMP, truncate=False)}),
    "gpt_oss_rope_of_the_class": ("gpt_oss", {"head_dim": 16, "rope_parameters": None}),
    "gpt_oss_one_of_many": ("gpt_oss", {"num_local_experts": 9, "num_experts_per_tok": 1, "rms_norm_eps": 0.3}),
    "gpt_oss_tied_multi_query": (
        "gpt_oss",
        {"tie_word_embeddings": True, "num_key_value_heads": 1, "num_experts_per_tok": 4},
    ),
    **{
        f"activation_{name}": ("llama", {"hidden_act": name})
        for name in ("gelu", "gelu_new", "gelu_pytorch_tanh", "quick_gelu", "relu", "relu2", "swish")
    },
    **ROPE_CASES,
}
_MODELS = [model for model, _ in CASES.values()]
EACH = [
    pytest.param(case, marks=() if _MODELS[:place].count(_MODELS[place]) < 2 else pytest.mark.slow)
    for place, case in enumerate(CASES)
]
"""Every case; those beyond the first two of a model type are for the slow tests."""
RUNG_CASES = (
    "qwen2_windows_from_a_layer_on",
    "qwen3_wide_heads",
    "grouped",
    "multi_query",
    "head_dim_wider",
    "all_biases_full_heads_tied",
    "mistral_window",
    "yarn_mscale",
    "gemma2_low_caps",
    "olmo2_biases",
    "granite_all_factors",
)
