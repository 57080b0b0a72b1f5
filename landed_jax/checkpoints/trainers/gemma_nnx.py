"""Gemma's table in NNX, which Flax's example and tunix share but for two names.

The norms add 1 to their scale and the embedding is multiplied by √d_model as the program runs, as the config says too.
"""

from landed_jax.checkpoints.trainers.entry import Entry
from landed_jax.checkpoints.trainers.source import embedding_scale_problems
from landed_jax.nn.config import ModelConfig

_LAYER = "layers/{layer}/"


def gemma_table(config: ModelConfig, embedding: str, weight: str) -> list[Entry]:
    """All leaves; `embedding` is what the embedding's table is called, `weight` what an einsum's weight is called."""
    gain = 1 - config.gain_offset
    return [
        Entry(f"embedder/{embedding}", "embed/W_E", "vocab d_model"),
        Entry("final_norm/scale", "final_norm/gamma", "d_model", addend=gain),
        Entry(_LAYER + "pre_attention_norm/scale", "attn_norm/gamma", "d_model", addend=gain),
        *_attention(config, weight),
        Entry(_LAYER + f"attn/attn_vec_einsum/{weight}", "attn/W_O", "head head_dim d_model"),
        Entry(_LAYER + "pre_ffw_norm/scale", "mlp_norm/gamma", "d_model", addend=gain),
        Entry(_LAYER + "mlp/gate_proj/kernel", "mlp/W_gate", "d_model d_ff"),
        Entry(_LAYER + "mlp/up_proj/kernel", "mlp/W_up", "d_model d_ff"),
        Entry(_LAYER + "mlp/down_proj/kernel", "mlp/W_down", "d_ff d_model"),
    ]


def _attention(config: ModelConfig, weight: str) -> list[Entry]:
    """Queries, keys and values: one tensor where there are as many heads of each, otherwise two."""
    if config.n_heads == config.n_kv_heads:
        one = _LAYER + f"attn/qkv_einsum/{weight}"
        return [
            Entry(one, "attn/W_Q", "head d_model head_dim", part=(0, 3)),
            Entry(one, "attn/W_K", "kv_head d_model head_dim", part=(1, 3)),
            Entry(one, "attn/W_V", "kv_head d_model head_dim", part=(2, 3)),
        ]
    both = _LAYER + f"attn/kv_einsum/{weight}"
    return [
        Entry(_LAYER + f"attn/q_einsum/{weight}", "attn/W_Q", "head d_model head_dim"),
        Entry(both, "attn/W_K", "kv_head d_model head_dim", part=(0, 2)),
        Entry(both, "attn/W_V", "kv_head d_model head_dim", part=(1, 2)),
    ]


def gemma_problems(config: ModelConfig) -> list[str]:
    """What a config says that this model cannot be."""
    return embedding_scale_problems(config, config.d_model**0.5)
