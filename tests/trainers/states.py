"""States of training programs, written down by hand: each leaf's path, its shape, and how it comes from ours.

The sizes differ: vocab 17, d_model 12, 3 layers, 4 heads, 2 key heads (4 in `GEMMA_MHA`), head_dim 6, d_ff 10.
In the subscripts v, d, l, n, k, h, f stand for these axes.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from landed_jax.nn.config import ModelConfig, RopeConfig
from landed_jax.nn.parameters import Params, is_stacked, stack_layers

SIZES: dict[str, Any] = dict(vocab_size=17, d_model=12, n_layers=3, n_heads=4, n_kv_heads=2, head_dim=6, d_ff=10)
LLAMA = ModelConfig(**SIZES, norm_eps=1e-5, rope=RopeConfig(theta=100.0))
LLAMA_3_1 = dataclasses.replace(LLAMA, rope=RopeConfig("llama3", theta=5e5, factor=8.0, original_max_positions=8192))
QWEN2 = dataclasses.replace(LLAMA, family="qwen2", qkv_bias=True)
QWEN3 = dataclasses.replace(LLAMA, family="qwen3", qk_norm="head", tie_embeddings=True)
GEMMA = ModelConfig(
    **SIZES,
    family="gemma",
    activation="gelu_tanh",
    gain_offset=1.0,
    embedding_scale=12**0.5,
    rounded_embedding_scale=True,
    tie_embeddings=True,
    rope=RopeConfig(theta=100.0),
)
GEMMA_MHA = dataclasses.replace(GEMMA, n_kv_heads=4)


def pairs(x: np.ndarray) -> np.ndarray:
    """The last axis from two halves to neighbours."""
    return np.stack(np.split(x, 2, axis=-1), axis=-1).reshape(x.shape)


def folded(x: np.ndarray) -> np.ndarray:
    return x / np.sqrt(6)


def gain(x: np.ndarray) -> np.ndarray:
    return x + 1


def scaled(x: np.ndarray) -> np.ndarray:
    return x * np.sqrt(12)


# A path, a shape, the path of ours, the subscripts of an einsum of ours, and what else is done to the values.
Line = tuple[str, tuple[int, ...], str, str, *tuple[Callable[[np.ndarray], np.ndarray], ...]]

MAXTEXT: list[Line] = [
    ("token_embedder/embedding", (17, 12), "embed/W_E", "vd->vd"),
    ("decoder/decoder_norm/scale", (12,), "final_norm/gamma", "d->d"),
    ("decoder/logits_dense/kernel", (12, 17), "unembed/W_U", "vd->dv"),
    ("decoder/layers_{}/pre_self_attention_layer_norm/scale", (12,), "attn_norm/gamma", "d->d"),
    ("decoder/layers_{}/self_attention/query/kernel", (12, 4, 6), "attn/W_Q", "nhd->dnh", folded),
    ("decoder/layers_{}/self_attention/key/kernel", (12, 2, 6), "attn/W_K", "khd->dkh"),
    ("decoder/layers_{}/self_attention/value/kernel", (12, 2, 6), "attn/W_V", "khd->dkh"),
    ("decoder/layers_{}/self_attention/out/kernel", (4, 6, 12), "attn/W_O", "dnh->nhd"),
    ("decoder/layers_{}/post_self_attention_layer_norm/scale", (12,), "mlp_norm/gamma", "d->d"),
    ("decoder/layers_{}/mlp/wi_0/kernel", (12, 10), "mlp/W_gate", "fd->df"),
    ("decoder/layers_{}/mlp/wi_1/kernel", (12, 10), "mlp/W_up", "fd->df"),
    ("decoder/layers_{}/mlp/wo/kernel", (10, 12), "mlp/W_down", "df->fd"),
]
MAXTEXT_SCANNED: list[Line] = [
    ("token_embedder/embedding", (17, 12), "embed/W_E", "vd->vd"),
    ("decoder/decoder_norm/scale", (12,), "final_norm/gamma", "d->d"),
    ("decoder/logits_dense/kernel", (12, 17), "unembed/W_U", "vd->dv"),
    ("decoder/layers/pre_self_attention_layer_norm/scale", (12, 3), "attn_norm/gamma", "ld->dl"),
    ("decoder/layers/self_attention/query/kernel", (12, 3, 4, 6), "attn/W_Q", "lnhd->dlnh", folded),
    ("decoder/layers/self_attention/key/kernel", (12, 3, 2, 6), "attn/W_K", "lkhd->dlkh"),
    ("decoder/layers/self_attention/value/kernel", (12, 3, 2, 6), "attn/W_V", "lkhd->dlkh"),
    ("decoder/layers/self_attention/out/kernel", (4, 3, 6, 12), "attn/W_O", "ldnh->nlhd"),
    ("decoder/layers/post_self_attention_layer_norm/scale", (12, 3), "mlp_norm/gamma", "ld->dl"),
    ("decoder/layers/mlp/wi_0/kernel", (12, 3, 10), "mlp/W_gate", "lfd->dlf"),
    ("decoder/layers/mlp/wi_1/kernel", (12, 3, 10), "mlp/W_up", "lfd->dlf"),
    ("decoder/layers/mlp/wo/kernel", (10, 3, 12), "mlp/W_down", "ldf->fld"),
]
# Llama 3.1's rotary embedding alone turns neighbours.
MAXTEXT_3_1: list[Line] = [
    (*line, pairs) if line[0].endswith(("query/kernel", "key/kernel")) else line for line in MAXTEXT_SCANNED
]
MAXTEXT_QWEN3: list[Line] = [
    *(line[:4] for line in MAXTEXT_SCANNED if "logits_dense" not in line[0]),
    ("decoder/layers/self_attention/query_norm/scale", (6, 3), "attn/q_gamma", "lh->hl"),
    ("decoder/layers/self_attention/key_norm/scale", (6, 3), "attn/k_gamma", "lh->hl"),
]
MAXTEXT_QWEN2: list[Line] = [
    *(line[:4] for line in MAXTEXT),
    ("decoder/layers_{}/self_attention/query/bias", (4, 6), "attn/b_Q", "nh->nh"),
    ("decoder/layers_{}/self_attention/key/bias", (2, 6), "attn/b_K", "kh->kh"),
    ("decoder/layers_{}/self_attention/value/bias", (2, 6), "attn/b_V", "kh->kh"),
]
MAXTEXT_GEMMA: list[Line] = [
    ("token_embedder/embedding", (17, 12), "embed/W_E", "vd->vd", scaled),
    ("decoder/decoder_norm/scale", (12,), "final_norm/gamma", "d->d", gain),
    ("decoder/layers/pre_self_attention_norm/scale", (12, 3), "attn_norm/gamma", "ld->dl", gain),
    ("decoder/layers/pre_ffw_norm/scale", (12, 3), "mlp_norm/gamma", "ld->dl", gain),
    *(line for line in MAXTEXT_SCANNED if "/self_attention/" in line[0] or "/mlp/" in line[0]),
]
TUNIX: list[Line] = [
    ("embedder/input_embedding", (17, 12), "embed/W_E", "vd->vd"),
    ("final_norm/w", (12,), "final_norm/gamma", "d->d"),
    ("lm_head/w", (12, 17), "unembed/W_U", "vd->dv"),
    ("layers/{}/input_layernorm/w", (12,), "attn_norm/gamma", "d->d"),
    ("layers/{}/attn/q_proj/w", (12, 4, 6), "attn/W_Q", "nhd->dnh"),
    ("layers/{}/attn/k_proj/w", (12, 2, 6), "attn/W_K", "khd->dkh"),
    ("layers/{}/attn/v_proj/w", (12, 2, 6), "attn/W_V", "khd->dkh"),
    ("layers/{}/attn/o_proj/w", (4, 6, 12), "attn/W_O", "dnh->nhd"),
    ("layers/{}/post_attention_layernorm/w", (12,), "mlp_norm/gamma", "d->d"),
    ("layers/{}/mlp/gate_proj/kernel", (12, 10), "mlp/W_gate", "fd->df"),
    ("layers/{}/mlp/up_proj/kernel", (12, 10), "mlp/W_up", "fd->df"),
    ("layers/{}/mlp/down_proj/kernel", (10, 12), "mlp/W_down", "df->fd"),
]
TUNIX_QWEN3: list[Line] = [
    *(line for line in TUNIX if "lm_head" not in line[0]),
    ("layers/{}/attn/q_norm/w", (6,), "attn/q_gamma", "h->h"),
    ("layers/{}/attn/k_norm/w", (6,), "attn/k_gamma", "h->h"),
]
TUNIX_QWEN2: list[Line] = [
    *TUNIX,
    ("layers/{}/attn/q_bias", (24,), "attn/b_Q", "nh->nh", np.ravel),
    ("layers/{}/attn/k_bias", (12,), "attn/b_K", "kh->kh", np.ravel),
    ("layers/{}/attn/v_bias", (12,), "attn/b_V", "kh->kh", np.ravel),
]
TUNIX_GEMMA: list[Line] = [
    ("embedder/input_embedding", (17, 12), "embed/W_E", "vd->vd"),
    ("final_norm/scale", (12,), "final_norm/gamma", "d->d"),
    ("layers/{}/pre_attention_norm/scale", (12,), "attn_norm/gamma", "d->d"),
    ("layers/{}/attn/q_einsum/w", (4, 12, 6), "attn/W_Q", "nhd->ndh"),
    ("layers/{}/attn/kv_einsum/w", (2, 2, 12, 6), "attn/W_K attn/W_V", "ckhd->ckdh"),
    ("layers/{}/attn/attn_vec_einsum/w", (4, 6, 12), "attn/W_O", "dnh->nhd"),
    ("layers/{}/pre_ffw_norm/scale", (12,), "mlp_norm/gamma", "d->d"),
    ("layers/{}/mlp/gate_proj/kernel", (12, 10), "mlp/W_gate", "fd->df"),
    ("layers/{}/mlp/up_proj/kernel", (12, 10), "mlp/W_up", "fd->df"),
    ("layers/{}/mlp/down_proj/kernel", (10, 12), "mlp/W_down", "df->fd"),
]
TUNIX_GEMMA_MHA: list[Line] = [
    *(line for line in TUNIX_GEMMA if "/q_einsum/" not in line[0] and "/kv_einsum/" not in line[0]),
    ("layers/{}/attn/qkv_einsum/w", (3, 4, 12, 6), "attn/W_Q attn/W_K attn/W_V", "snhd->sndh"),
]
FLAX_GEMMA: list[Line] = [
    ("embedder/embedding", (17, 12), "embed/W_E", "vd->vd"),
    ("final_norm/scale", (12,), "final_norm/gamma", "d->d"),
    ("layers/{}/pre_attention_norm/scale", (12,), "attn_norm/gamma", "d->d"),
    ("layers/{}/attn/q_einsum/kernel", (4, 12, 6), "attn/W_Q", "nhd->ndh"),
    ("layers/{}/attn/kv_einsum/kernel", (2, 2, 12, 6), "attn/W_K attn/W_V", "ckhd->ckdh"),
    ("layers/{}/attn/attn_vec_einsum/kernel", (4, 6, 12), "attn/W_O", "dnh->nhd"),
    ("layers/{}/pre_ffw_norm/scale", (12,), "mlp_norm/gamma", "d->d"),
    ("layers/{}/mlp/gate_proj/kernel", (12, 10), "mlp/W_gate", "fd->df"),
    ("layers/{}/mlp/up_proj/kernel", (12, 10), "mlp/W_up", "fd->df"),
    ("layers/{}/mlp/down_proj/kernel", (10, 12), "mlp/W_down", "df->fd"),
]
BONSAI_LLAMA: list[Line] = [
    ("embedder/embedding", (17, 12), "embed/W_E", "vd->vd"),
    ("final_norm/scale", (12,), "final_norm/gamma", "d->d"),
    ("lm_head/kernel", (12, 17), "unembed/W_U", "vd->dv"),
    ("layers/{}/input_layernorm/scale", (12,), "attn_norm/gamma", "d->d"),
    ("layers/{}/self_attn/q_proj/kernel", (12, 24), "attn/W_Q", "nhd->dnh"),
    ("layers/{}/self_attn/k_proj/kernel", (12, 12), "attn/W_K", "khd->dkh"),
    ("layers/{}/self_attn/v_proj/kernel", (12, 12), "attn/W_V", "khd->dkh"),
    ("layers/{}/self_attn/o_proj/kernel", (24, 12), "attn/W_O", "dnh->nhd"),
    ("layers/{}/post_attention_layernorm/scale", (12,), "mlp_norm/gamma", "d->d"),
    ("layers/{}/mlp/gate_proj/kernel", (12, 10), "mlp/W_gate", "fd->df"),
    ("layers/{}/mlp/up_proj/kernel", (12, 10), "mlp/W_up", "fd->df"),
    ("layers/{}/mlp/down_proj/kernel", (10, 12), "mlp/W_down", "df->fd"),
]
# With an unembedding of its own always.
BONSAI_QWEN3: list[Line] = [
    *(line for line in BONSAI_LLAMA if "/self_attn/" not in line[0]),
    ("layers/{}/attn/q_proj/kernel", (12, 4, 6), "attn/W_Q", "nhd->dnh"),
    ("layers/{}/attn/k_proj/kernel", (12, 2, 6), "attn/W_K", "khd->dkh"),
    ("layers/{}/attn/v_proj/kernel", (12, 2, 6), "attn/W_V", "khd->dkh"),
    ("layers/{}/attn/o_proj/kernel", (4, 6, 12), "attn/W_O", "dnh->nhd"),
    ("layers/{}/attn/q_norm/scale", (6,), "attn/q_gamma", "h->h"),
    ("layers/{}/attn/k_norm/scale", (6,), "attn/k_gamma", "h->h"),
]


@dataclasses.dataclass(frozen=True)
class Case:
    """A state of a training program; `scanned` where its layers are one axis."""

    config: ModelConfig
    lines: list[Line]
    kind: str
    scanned: bool = False


CASES = {
    "maxtext": Case(LLAMA, MAXTEXT, "MaxText (Llama, Mistral or Qwen, unscanned layers)"),
    "maxtext scanned": Case(LLAMA, MAXTEXT_SCANNED, "MaxText (Llama, Mistral or Qwen, scanned layers)", scanned=True),
    "maxtext 3.1": Case(LLAMA_3_1, MAXTEXT_3_1, "MaxText (Llama, Mistral or Qwen, scanned layers)", scanned=True),
    "maxtext qwen3": Case(QWEN3, MAXTEXT_QWEN3, "MaxText (Llama, Mistral or Qwen, scanned layers)", scanned=True),
    "maxtext qwen2": Case(QWEN2, MAXTEXT_QWEN2, "MaxText (Llama, Mistral or Qwen, unscanned layers)"),
    "maxtext gemma": Case(GEMMA, MAXTEXT_GEMMA, "MaxText (Gemma, scanned layers)", scanned=True),
    "tunix": Case(LLAMA, TUNIX, "tunix (Llama or Qwen)"),
    "tunix qwen3": Case(QWEN3, TUNIX_QWEN3, "tunix (Llama or Qwen)"),
    "tunix qwen2": Case(QWEN2, TUNIX_QWEN2, "tunix (Llama or Qwen)"),
    "tunix gemma": Case(GEMMA, TUNIX_GEMMA, "tunix (Gemma)"),
    "tunix gemma mha": Case(GEMMA_MHA, TUNIX_GEMMA_MHA, "tunix (Gemma)"),
    "flax gemma": Case(GEMMA, FLAX_GEMMA, "Flax's example (Gemma)"),
    "bonsai llama": Case(LLAMA, BONSAI_LLAMA, "bonsai (Llama 3.2)"),
    "bonsai qwen3": Case(dataclasses.replace(QWEN3, tie_embeddings=False), BONSAI_QWEN3, "bonsai (Qwen 3)"),
}
# In which every value is ours, only elsewhere.
MOVED = [name for name in CASES if not name.startswith("maxtext")] + ["maxtext qwen2", "maxtext qwen3"]


def state_of(name: str, params: Params) -> dict[str, Any]:
    """The flat state of a case, from our parameters, in NumPy and in their type."""
    case = CASES[name]
    params = stack_layers(params) if case.scanned else params
    assert is_stacked(params) == case.scanned
    return {
        path.format(layer): _value(line, params["layers"] if case.scanned else params["layers"][str(layer)], params)
        for line in case.lines
        for path in [line[0]]
        for layer in range(3 if "{}" in path else 1)
    }


def _value(line: Line, layer: Params, params: Params) -> np.ndarray:
    _, shape, ours, subscripts, *changes = line
    is_top = ours.startswith(("embed/", "unembed/", "final_norm/"))
    each = [np.asarray(_at(params if is_top else layer, path)) for path in ours.split()]
    value = np.einsum(subscripts, each[0] if len(each) == 1 else np.stack(each))
    for change in changes:
        value = change(value.astype(np.float64)).astype(value.dtype)
    return np.ascontiguousarray(value).reshape(shape)


def _at(node: Any, path: str) -> Any:
    for part in path.split("/"):
        node = node[part]
    return node


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    """A state as nested dictionaries."""
    tree: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, last = path.split("/")
        node = tree
        for part in parents:
            node = node.setdefault(part, {})
        node[last] = value
    return tree
