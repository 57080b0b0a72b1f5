"""Forward passes in the training programs' own conventions, in NumPy: they read the programs' states, not ours.

Each is written from what the program computes with a leaf: its einsum, where it scales, what it turns.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

State = dict[str, Any]
THETA = 100.0


def rms(x: np.ndarray, gain: np.ndarray, eps: float) -> np.ndarray:
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * gain


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def halves(x: np.ndarray) -> np.ndarray:
    """Rotary embedding of ``[position, head, head_dim]``: each first half with its second."""
    angle = np.arange(len(x))[:, None, None] / THETA ** (2 * np.arange(3) / 6)
    first, second = np.split(x, 2, axis=-1)
    return np.concatenate(
        [first * np.cos(angle) - second * np.sin(angle), second * np.cos(angle) + first * np.sin(angle)], axis=-1
    )


def neighbours_of_llama_3_1(x: np.ndarray) -> np.ndarray:
    """MaxText's rotary embedding for Llama 3.1: ``2i`` with ``2i + 1``, long wavelengths divided by 8."""
    frequencies = []
    for i in range(3):
        frequency = 5e5 ** (-2 * i / 6)
        wavelength = 2 * np.pi / frequency
        if wavelength > 8192:
            frequency /= 8
        elif wavelength >= 8192 / 4:
            smooth = (8192 / wavelength - 1) / 3
            frequency = (1 - smooth) * frequency / 8 + smooth * frequency
        frequencies.append(frequency)
    angle = np.arange(len(x))[:, None, None] * np.array(frequencies)
    out = np.empty_like(x)
    out[..., ::2] = x[..., ::2] * np.cos(angle) - x[..., 1::2] * np.sin(angle)
    out[..., 1::2] = x[..., 1::2] * np.cos(angle) + x[..., ::2] * np.sin(angle)
    return out


def attend(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Causal attention of queries that are scaled already."""
    k, v = (np.repeat(x, q.shape[1] // x.shape[1], axis=1) for x in (k, v))
    scores = np.einsum("tnh,snh->nts", q, k)
    scores = np.where(np.tril(np.ones(scores.shape[1:], bool)), scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return np.einsum("nts,snh->tnh", weights / weights.sum(-1, keepdims=True), v)


def maxtext(state: State, ids: np.ndarray, model: str, scanned: bool) -> np.ndarray:
    """Logits of MaxText's decoder; `model` is llama, 3.1, qwen2, qwen3 or gemma."""
    gemma, qwen = model == "gemma", model.startswith("qwen")
    rotate = neighbours_of_llama_3_1 if model == "3.1" else halves
    eps = 1e-6 if gemma else 1e-5
    before, after = (
        ("pre_self_attention_norm", "pre_ffw_norm")
        if gemma
        else ("pre_self_attention_layer_norm", "post_self_attention_layer_norm")
    )
    x = state["token_embedder/embedding"][ids]
    for layer in range(3):

        def held(name: str, layer: int = layer) -> Any:
            path = f"decoder/layers/{name}" if scanned else f"decoder/layers_{layer}/{name}"
            leaf = state.get(path)
            return np.take(leaf, layer, axis=1) if scanned and leaf is not None else leaf

        heard = rms(x, held(f"{before}/scale"), eps)
        q, k, v = (
            np.einsum("td,dnh->tnh", heard, held(f"self_attention/{name}/kernel")) for name in ("query", "key", "value")
        )
        if model == "qwen2":
            q, k, v = (y + held(f"self_attention/{name}/bias") for y, name in ((q, "query"), (k, "key"), (v, "value")))
        if model == "qwen3":
            q = rms(q, held("self_attention/query_norm/scale"), eps)
            k = rms(k, held("self_attention/key_norm/scale"), eps)
        q, k = rotate(q), rotate(k)
        q = q * 6**-0.5 if qwen else q  # elsewhere it is in the kernel
        x = x + np.einsum("tnh,nhd->td", attend(q, k, v), held("self_attention/out/kernel"))
        heard = rms(x, held(f"{after}/scale"), eps)
        gate = (gelu if gemma else silu)(heard @ held("mlp/wi_0/kernel"))
        x = x + (gate * (heard @ held("mlp/wi_1/kernel"))) @ held("mlp/wo/kernel")
    x = rms(x, state["decoder/decoder_norm/scale"], eps)
    if "decoder/logits_dense/kernel" in state:
        return x @ state["decoder/logits_dense/kernel"]
    logits = x @ state["token_embedder/embedding"].T
    return logits / np.sqrt(12) if gemma else logits


def projections(state: State, name: str, layer: int, heard: np.ndarray) -> tuple[np.ndarray, ...]:
    """Queries, keys and values of the NNX models, by the einsums of each."""

    def held(path: str) -> Any:
        return state[f"layers/{layer}/{path}"]

    if name == "bonsai llama":
        return tuple((heard @ held(f"self_attn/{x}_proj/kernel")).reshape(len(heard), -1, 6) for x in "qkv")
    weight = "w" if name.startswith("tunix") else "kernel"
    if name == "tunix gemma mha":
        return tuple(np.einsum("td,sndh->stnh", heard, held("attn/qkv_einsum/w")))
    if "gemma" in name:
        q = np.einsum("td,ndh->tnh", heard, held(f"attn/q_einsum/{weight}"))
        return q, *np.einsum("sd,ckdh->cskh", heard, held(f"attn/kv_einsum/{weight}"))
    q, k, v = (np.einsum("td,dnh->tnh", heard, held(f"attn/{x}_proj/{weight}")) for x in "qkv")
    if name == "tunix qwen2":
        q, k, v = (
            (y.reshape(len(y), -1) + held(f"attn/{x}_bias")).reshape(y.shape) for x, y in (("q", q), ("k", k), ("v", v))
        )
    return q, k, v


def nnx(state: State, ids: np.ndarray, name: str) -> np.ndarray:
    """Logits of tunix's, Flax's and bonsai's models."""
    gemma, tunix = "gemma" in name, name.startswith("tunix")
    gain = "scale" if gemma or not tunix else "w"
    offset, eps = (1, 1e-6) if gemma else (0, 1e-5)
    before, after = ("pre_attention_norm", "pre_ffw_norm") if gemma else ("input_layernorm", "post_attention_layernorm")
    act: Callable[[np.ndarray], np.ndarray] = gelu if gemma else silu
    table = state["embedder/input_embedding" if tunix else "embedder/embedding"]
    x = table[ids] * (np.sqrt(12) if gemma else 1)
    for layer in range(3):
        at = f"layers/{layer}/"
        heard = rms(x, offset + state[f"{at}{before}/{gain}"], eps)
        q, k, v = projections(state, name, layer, heard)
        if "qwen3" in name:
            q, k = (rms(y, state[f"{at}attn/{x}_norm/{gain}"], eps) for x, y in (("q", q), ("k", k)))
        z = attend(halves(q) * 6**-0.5, halves(k), v)
        if name == "bonsai llama":
            x = x + z.reshape(len(z), -1) @ state[at + "self_attn/o_proj/kernel"]
        else:
            out = "attn_vec_einsum" if gemma else "o_proj"
            x = x + np.einsum("tnh,nhd->td", z, state[f"{at}attn/{out}/{'w' if tunix else 'kernel'}"])
        heard = rms(x, offset + state[f"{at}{after}/{gain}"], eps)
        gate = act(heard @ state[at + "mlp/gate_proj/kernel"])
        x = x + (gate * (heard @ state[at + "mlp/up_proj/kernel"])) @ state[at + "mlp/down_proj/kernel"]
    x = rms(x, offset + state[f"final_norm/{gain}"], eps)
    unembedding = state.get("lm_head/w", state.get("lm_head/kernel"))
    return x @ (table.T if unembedding is None else unembedding)


def logits_of(name: str, state: State, ids: np.ndarray) -> np.ndarray:
    """The logits of a case of `states.CASES`, ``[position, vocab]``."""
    if not name.startswith("maxtext"):
        return nnx(state, ids, name)
    model = name.removeprefix("maxtext").strip() or "llama"
    return maxtext(state, ids, "llama" if model == "scanned" else model, model not in ("llama", "qwen2"))
