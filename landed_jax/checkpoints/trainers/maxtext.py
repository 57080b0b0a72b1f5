"""MaxText's trees: Linen's and NNX's have the same names; scanned layers are axis 1 of each leaf.

What the tree does not say follows from MaxText's code and from the files of its models:

- Norms hold γ itself, in Gemma too.
- Llama's, Mistral's and Gemma's query kernels hold the factor 1/√head_dim of attention; Qwen's do not.
- Rotary embedding turns halves, but for Llama 3.1's, which turns neighbouring pairs.
- Gemma's embedding holds its factor √d_model, by which the logits of the same table are divided again. Qwen's files
  switch this division off; of a tied Llama it cannot be known.

References:
    https://github.com/AI-Hypercomputer/maxtext at e591f30c (0.2.4): ``layers/attentions.py``, ``layers/embeddings.py``,
    ``layers/nnx_decoders.py``, ``checkpoint_conversion/utils/param_mapping.py``, ``configs/models/``
"""

import dataclasses
from collections.abc import Callable

from landed_jax.checkpoints.trainers.entry import LAYER, Entry
from landed_jax.checkpoints.trainers.source import Source, embedding_scale_problems
from landed_jax.nn.config import ModelConfig

_LLAMA_3_1 = (8.0, 1.0, 4.0, 8192)  # the only scaling of this kind that MaxText computes


def _table(config: ModelConfig, layer: str, norms: tuple[str, str], embedding: float) -> list[Entry]:
    """All leaves; `layer` is what stands before a layer's own, `norms` what its two norms are called."""
    scanned = "{layer}" not in layer
    query = 1.0 if _scales_queries_itself(config) else config.head_dim**0.5
    paired = config.rope.kind == "llama3"

    def inside(
        name: str, leaf: str, axes: str, factor: float = 1.0, addend: float = 0.0, paired: bool = False
    ) -> Entry:
        first, *rest = axes.split()
        axes = " ".join([first, LAYER, *rest]) if scanned else axes
        return Entry(layer + name, leaf, axes, None, factor, addend, paired)

    gain = -config.gain_offset
    return [
        Entry("token_embedder/embedding", "embed/W_E", "vocab d_model", factor=embedding),
        Entry("decoder/decoder_norm/scale", "final_norm/gamma", "d_model", addend=gain),
        Entry("decoder/logits_dense/kernel", "unembed/W_U", "d_model vocab"),
        inside(f"{norms[0]}/scale", "attn_norm/gamma", "d_model", addend=gain),
        inside("self_attention/query/kernel", "attn/W_Q", "d_model head head_dim", query, paired=paired),
        inside("self_attention/key/kernel", "attn/W_K", "d_model kv_head head_dim", paired=paired),
        inside("self_attention/value/kernel", "attn/W_V", "d_model kv_head head_dim"),
        inside("self_attention/out/kernel", "attn/W_O", "head head_dim d_model"),
        inside("self_attention/query/bias", "attn/b_Q", "head head_dim", query, paired=paired),
        inside("self_attention/key/bias", "attn/b_K", "kv_head head_dim", paired=paired),
        inside("self_attention/value/bias", "attn/b_V", "kv_head head_dim"),
        inside("self_attention/query_norm/scale", "attn/q_gamma", "head_dim", addend=gain, paired=paired),
        inside("self_attention/key_norm/scale", "attn/k_gamma", "head_dim", addend=gain, paired=paired),
        inside(f"{norms[1]}/scale", "mlp_norm/gamma", "d_model", addend=gain),
        inside("mlp/wi_0/kernel", "mlp/W_gate", "d_model d_ff"),
        inside("mlp/wi_1/kernel", "mlp/W_up", "d_model d_ff"),
        inside("mlp/wo/kernel", "mlp/W_down", "d_ff d_model"),
    ]


def _llama(layer: str) -> Callable[[ModelConfig], list[Entry]]:
    norms = ("pre_self_attention_layer_norm", "post_self_attention_layer_norm")
    return lambda config: _table(config, layer, norms, 1.0)


def _gemma(layer: str) -> Callable[[ModelConfig], list[Entry]]:
    norms = ("pre_self_attention_norm", "pre_ffw_norm")
    return lambda config: _table(config, layer, norms, 1 / config.embedding_scale)


def _scales_queries_itself(config: ModelConfig) -> bool:
    """Qwen's blocks alone: with norms of queries and keys, or with biases, which Llama's block has not."""
    return config.qk_norm is not None or config.qkv_bias


_NOT_THERE = (
    *("attention_scale", "attention_cap", "residual_scale", "logit_scale", "logit_cap", "parallel_blocks"),
    *("rotary_layers", "rotary_dim", "local_rope", "query_growth", "norm", "sinks"),
)


def _rotary_problems(config: ModelConfig) -> list[str]:
    rope = config.rope
    scaling = (rope.factor, rope.low_freq_factor, rope.high_freq_factor, rope.original_max_positions)
    if rope.kind == "llama3" and scaling != _LLAMA_3_1:
        return [f"MaxText's llama3 rotary scaling is {_LLAMA_3_1} alone, and this config's is {scaling}"]
    if rope.kind == "yarn":
        return ["which coordinates yarn's rotary embedding turns is MaxText's rope_interleave, which no leaf tells"]
    if rope.kind == "dynamic":
        return ["MaxText has no dynamic rotary scaling"]
    return []


def _llama_problems(config: ModelConfig) -> list[str]:
    problems = [*_rotary_problems(config), *_unknown_to_it(config), *embedding_scale_problems(config, 1.0)]
    if config.tie_embeddings and not _scales_queries_itself(config):
        problems.append(
            "MaxText divides a tied model's logits by √d_model or does not (normalize_embedding_logits), which no leaf "
            "tells: add the unembedding as decoder/logits_dense/kernel, and set tie_embeddings=False"
        )
    return problems


def _unknown_to_it(config: ModelConfig) -> list[str]:
    """Switches of which no leaf tells anything, and which its Llama, Mistral, Qwen and Gemma 1 do not have."""
    usual = {field.name: field.default for field in dataclasses.fields(config)}
    return [
        f"these blocks of MaxText have no {name}, which is {getattr(config, name)} here"
        for name in _NOT_THERE
        if getattr(config, name) != usual[name]
    ]


def _gemma_problems(config: ModelConfig) -> list[str]:
    problems = [*_rotary_problems(config), *_unknown_to_it(config)]
    return [*problems, *(embedding_scale_problems(config, config.d_model**0.5) if config.tie_embeddings else [])]


_LAYERS = {
    "scanned layers": "decoder/layers/",
    "unscanned layers": "decoder/layers_{layer}/",
    "a list of layers": "decoder/layers/{layer}/",
}
SOURCES = tuple(
    Source(f"MaxText ({block}, {how})", table(layer), problems)
    for block, table, problems in (
        ("Llama, Mistral or Qwen", _llama, _llama_problems),
        ("Gemma", _gemma, _gemma_problems),
    )
    for how, layer in _LAYERS.items()
)
