"""Flax's NNX models: the Gemma of Flax's own examples, the Qwen 3 and the Llama 3.2 of bonsai.

Weights are as in Hugging Face's files but for the order of their axes; nothing is folded into them.

References:
    https://github.com/google/flax at 18f8f311 (0.12.8): ``examples/gemma``
    https://github.com/jax-ml/bonsai at 36284254: ``models/qwen3``; pull request 138 at c8404a06: ``models/llama3_2``
"""

from landed_jax.checkpoints.trainers.entry import Entry
from landed_jax.checkpoints.trainers.gemma_nnx import gemma_problems, gemma_table
from landed_jax.checkpoints.trainers.source import Source, embedding_scale_problems
from landed_jax.nn.config import ModelConfig

_LAYER = "layers/{layer}/"


def _table(config: ModelConfig, attention: list[Entry]) -> list[Entry]:
    gain = -config.gain_offset
    return [
        Entry("embedder/embedding", "embed/W_E", "vocab d_model"),
        Entry("final_norm/scale", "final_norm/gamma", "d_model", addend=gain),
        Entry("lm_head/kernel", "unembed/W_U", "d_model vocab"),
        Entry(_LAYER + "input_layernorm/scale", "attn_norm/gamma", "d_model", addend=gain),
        *attention,
        Entry(_LAYER + "post_attention_layernorm/scale", "mlp_norm/gamma", "d_model", addend=gain),
        Entry(_LAYER + "mlp/gate_proj/kernel", "mlp/W_gate", "d_model d_ff"),
        Entry(_LAYER + "mlp/up_proj/kernel", "mlp/W_up", "d_model d_ff"),
        Entry(_LAYER + "mlp/down_proj/kernel", "mlp/W_down", "d_ff d_model"),
    ]


def _qwen3(config: ModelConfig) -> list[Entry]:
    gain = -config.gain_offset
    return _table(
        config,
        [
            Entry(_LAYER + "attn/q_proj/kernel", "attn/W_Q", "d_model head head_dim"),
            Entry(_LAYER + "attn/k_proj/kernel", "attn/W_K", "d_model kv_head head_dim"),
            Entry(_LAYER + "attn/v_proj/kernel", "attn/W_V", "d_model kv_head head_dim"),
            Entry(_LAYER + "attn/o_proj/kernel", "attn/W_O", "head head_dim d_model"),
            Entry(_LAYER + "attn/q_norm/scale", "attn/q_gamma", "head_dim", addend=gain),
            Entry(_LAYER + "attn/k_norm/scale", "attn/k_gamma", "head_dim", addend=gain),
        ],
    )


def _llama(config: ModelConfig) -> list[Entry]:
    return _table(
        config,
        [
            Entry(_LAYER + "self_attn/q_proj/kernel", "attn/W_Q", "d_model (head head_dim)"),
            Entry(_LAYER + "self_attn/k_proj/kernel", "attn/W_K", "d_model (kv_head head_dim)"),
            Entry(_LAYER + "self_attn/v_proj/kernel", "attn/W_V", "d_model (kv_head head_dim)"),
            Entry(_LAYER + "self_attn/o_proj/kernel", "attn/W_O", "(head head_dim) d_model"),
        ],
    )


def _no_scale(config: ModelConfig) -> list[str]:
    return embedding_scale_problems(config, 1.0)


SOURCES = (
    Source("Flax's example (Gemma)", lambda config: gemma_table(config, "embedding", "kernel"), gemma_problems),
    Source("bonsai (Qwen 3)", _qwen3, _no_scale),
    Source("bonsai (Llama 3.2)", _llama, _no_scale),
)
