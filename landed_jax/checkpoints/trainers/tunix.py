"""tunix's NNX models: one table for Llama 3, Qwen 2 and Qwen 3, one for Gemma.

Weights are as in Hugging Face's files but for the order of their axes; nothing is folded into them.

References:
    https://github.com/google/tunix at c7d8950f (0.1.8): ``models/{llama3,qwen2,qwen3,gemma}/model.py``
"""

from landed_jax.checkpoints.trainers.entry import Entry
from landed_jax.checkpoints.trainers.gemma_nnx import gemma_problems, gemma_table
from landed_jax.checkpoints.trainers.source import Source, embedding_scale_problems
from landed_jax.nn.config import ModelConfig

_LAYER = "layers/{layer}/"


def _table(config: ModelConfig) -> list[Entry]:
    gain = -config.gain_offset
    return [
        Entry("embedder/input_embedding", "embed/W_E", "vocab d_model"),
        Entry("final_norm/w", "final_norm/gamma", "d_model", addend=gain),
        Entry("lm_head/w", "unembed/W_U", "d_model vocab"),
        Entry(_LAYER + "input_layernorm/w", "attn_norm/gamma", "d_model", addend=gain),
        Entry(_LAYER + "attn/q_proj/w", "attn/W_Q", "d_model head head_dim"),
        Entry(_LAYER + "attn/k_proj/w", "attn/W_K", "d_model kv_head head_dim"),
        Entry(_LAYER + "attn/v_proj/w", "attn/W_V", "d_model kv_head head_dim"),
        Entry(_LAYER + "attn/o_proj/w", "attn/W_O", "head head_dim d_model"),
        Entry(_LAYER + "attn/q_bias", "attn/b_Q", "(head head_dim)"),
        Entry(_LAYER + "attn/k_bias", "attn/b_K", "(kv_head head_dim)"),
        Entry(_LAYER + "attn/v_bias", "attn/b_V", "(kv_head head_dim)"),
        Entry(_LAYER + "attn/q_norm/w", "attn/q_gamma", "head_dim", addend=gain),
        Entry(_LAYER + "attn/k_norm/w", "attn/k_gamma", "head_dim", addend=gain),
        Entry(_LAYER + "post_attention_layernorm/w", "mlp_norm/gamma", "d_model", addend=gain),
        Entry(_LAYER + "mlp/gate_proj/kernel", "mlp/W_gate", "d_model d_ff"),
        Entry(_LAYER + "mlp/up_proj/kernel", "mlp/W_up", "d_model d_ff"),
        Entry(_LAYER + "mlp/down_proj/kernel", "mlp/W_down", "d_ff d_model"),
    ]


SOURCES = (
    Source("tunix (Llama or Qwen)", _table, lambda config: embedding_scale_problems(config, 1.0)),
    Source("tunix (Gemma)", lambda config: gemma_table(config, "input_embedding", "w"), gemma_problems),
)
