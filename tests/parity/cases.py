"""The configurations that the ladder climbs: between them, every switch that the package honours."""

from typing import Any

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
    "olmo2": ("olmo2", {}),
    "olmo2_full_heads_large_eps": ("olmo2", {"num_key_value_heads": 4, "rms_norm_eps": 0.3}),
    "olmo2_multi_query_tied": ("olmo2", {"num_key_value_heads": 1, "tie_word_embeddings": True}),
    "olmo2_biases": ("olmo2", {"attention_bias": True}),
    "olmo2_one_layer": ("olmo2", {"num_hidden_layers": 1, "hidden_act": "gelu"}),
    "olmo2_linear": ("olmo2", rope(rope_type="linear", rope_theta=500.0, factor=2.5)),
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
    **{
        f"activation_{name}": ("llama", {"hidden_act": name})
        for name in ("gelu", "gelu_new", "gelu_pytorch_tanh", "quick_gelu", "relu", "relu2", "swish")
    },
    **ROPE_CASES,
}
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
