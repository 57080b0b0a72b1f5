"""The decoder from its mathematics, in NumPy and float64, one prompt at a time: what the package is held against."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from landed_jax.nn.config import ModelConfig
from landed_jax.nn.rope_config import RopeConfig

Arrays = dict[str, np.ndarray]
_OUTSIDE = ("embedding", "position_embedding", "logits")

_erf = np.vectorize(math.erf, otypes=[float])


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


ACTIVATIONS = {
    "silu": lambda x: x * _sigmoid(x),
    "gelu": lambda x: x * (1 + _erf(x / math.sqrt(2))) / 2,
    "gelu_tanh": lambda x: x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
    "quick_gelu": lambda x: x * _sigmoid(1.702 * x),
    "relu": lambda x: np.maximum(x, 0),
    "relu2": lambda x: np.maximum(x, 0) ** 2,
}


def frequencies(rope: RopeConfig, config: ModelConfig, length: int) -> np.ndarray:
    """Radians per position of each rotated pair, for a prompt of `length` tokens."""
    dim = config.rotary_dim or config.head_dim
    theta = rope.theta
    if rope.kind == "dynamic" and length > config.max_positions:
        stretch = rope.factor * length / config.max_positions - (rope.factor - 1)
        theta *= stretch ** (dim / (dim - 2))
    plain = np.array([theta ** (-2 * i / dim) for i in range(dim // 2)])
    if rope.kind == "linear":
        return plain / rope.factor
    if rope.kind == "llama3":
        wavelength = 2 * math.pi / plain
        longest, shortest = (rope.original_max_positions / f for f in (rope.low_freq_factor, rope.high_freq_factor))
        smooth = (rope.original_max_positions / wavelength - rope.low_freq_factor) / (
            rope.high_freq_factor - rope.low_freq_factor
        )
        between = (1 - smooth) * plain / rope.factor + smooth * plain
        return np.where(wavelength > longest, plain / rope.factor, np.where(wavelength < shortest, plain, between))
    if rope.kind == "yarn":
        # The pair that makes `turns` turns over the original context: solve theta^(-2i/dim) · n / 2π = turns for i.
        ends = [
            dim * math.log(rope.original_max_positions / (2 * math.pi * turns)) / (2 * math.log(theta))
            for turns in (rope.beta_fast, rope.beta_slow)
        ]
        if rope.truncate:
            ends = [math.floor(ends[0]), math.ceil(ends[1])]
        low, high = max(ends[0], 0), min(ends[1], dim - 1)
        ramp = np.clip((np.arange(dim // 2) - low) / ((high - low) or 0.001), 0, 1)
        return plain * (1 - ramp) + plain / rope.factor * ramp
    return plain


def rotate(x: np.ndarray, rope: RopeConfig, config: ModelConfig) -> np.ndarray:
    """Each pair (i, i + half) of ``[position, head, head_dim]`` as a complex number, turned by its angle."""
    angle = np.outer(np.arange(len(x)), frequencies(rope, config, len(x)))[:, None]
    half = angle.shape[-1]
    turned = (x[..., :half] + 1j * x[..., half : 2 * half]) * np.exp(1j * angle) * rope.attention_factor
    return np.concatenate([turned.real, turned.imag, x[..., 2 * half :]], axis=-1)


def _prompt(params: Any, ids: np.ndarray, config: ModelConfig, zero: Mapping[str, tuple[int, int]]) -> Arrays:
    length = len(ids)
    seen: dict[str, list[np.ndarray]] = {}

    def keep(**values: np.ndarray) -> None:
        for name, value in values.items():
            seen.setdefault(name, []).append(value)

    def norm(x: np.ndarray, of: Arrays) -> np.ndarray:
        seen = x - x.sum(-1, keepdims=True) / config.d_model if config.norm == "layer" else x
        sigma = np.sqrt((seen**2).sum(-1) / config.d_model + config.norm_eps)
        keep(residual=x, sigma=sigma)
        return seen * (config.gain_offset + of["gamma"]) / sigma[:, None] + of.get("beta", 0)

    query, key = np.arange(length)[:, None], np.arange(length)[None]
    x = embedding = config.embedding_scale * params["embed"]["W_E"][ids]
    if config.learned_positions:
        places = params["embed"]["W_pos"][:length]
        x = x + places
    for index in range(config.n_layers):
        layer = params["layers"][str(index)]
        windowed = config.sliding_window and (not config.windowed_layers or config.windowed_layers[index])
        hidden = (key > query) | (query - key >= (config.sliding_window if windowed else length))
        attn, mlp = layer["attn"], layer["mlp"]
        heard, before = norm(x, layer["attn_norm"]), x
        q, k, v = (np.einsum("hed,sd->she", attn[f"W_{n}"], heard) + attn.get(f"b_{n}", 0) for n in "QKV")
        if config.qk_norm:  # the root mean square over each head's own coordinates
            q, k = (
                x
                / np.sqrt((x**2).sum(-1, keepdims=True) / config.head_dim + config.norm_eps)
                * (config.gain_offset + attn[f"{n}_gamma"])
                for x, n in ((q, "q"), (k, "k"))
            )
        if not config.rotary_layers or config.rotary_layers[index]:
            rope = config.local_rope if windowed and config.local_rope else config.rope
            q, k = rotate(q, rope, config), rotate(k, rope, config)
        z, pattern = np.zeros_like(q), np.zeros((config.n_heads, length, length))
        for head in range(config.n_heads):
            group = head // (config.n_heads // config.n_kv_heads)
            scores = np.where(hidden, -np.inf, q[:, head] @ k[:, group].T / math.sqrt(config.head_dim))
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            pattern[head] = weights / weights.sum(-1, keepdims=True)
            z[:, head] = pattern[head] @ v[:, group]
        if zero.get("head", (None,))[0] == index:
            z[:, zero["head"][1]] = 0
        head_write = np.einsum("she,dhe->shd", z, attn["W_O"])
        x = x + head_write.sum(1) + attn.get("b_O", 0)
        heard = norm(before if config.parallel_blocks else x, layer["mlp_norm"])
        if config.gated_mlp:
            gate, up = (heard @ mlp[f"W_{n}"].T + mlp.get(f"b_{n}", 0) for n in ("gate", "up"))
            a = ACTIVATIONS[config.activation](gate) * up
        else:
            a = ACTIVATIONS[config.activation](heard @ mlp["W_in"].T + mlp.get("b_in", 0))
        if zero.get("neuron", (None,))[0] == index:
            a[:, zero["neuron"][1]] = 0
        neuron_write = a[:, :, None] * mlp["W_down"].T
        x = x + neuron_write.sum(1) + mlp.get("b_down", 0)
        keep(q=q, k=k, v=v, pattern=pattern, z=z, head_write=head_write, a=a, neuron_write=neuron_write)
    final = norm(x, params["final_norm"])
    unembed = params["embed"]["W_E"] if config.tie_embeddings else params["unembed"]["W_U"]
    return {name: np.stack(values) for name, values in seen.items()} | {
        **({"position_embedding": places} if config.learned_positions else {}),
        "embedding": embedding,
        "logits": final @ unembed.T,
    }


def numpy_forward(
    params: Any, ids: Any, mask: Any, config: ModelConfig, zero: Mapping[str, tuple[int, int]] | None = None
) -> Arrays:
    """Every number of the forward pass, each prompt run alone and put back in its columns (0 on padding).

    Args:
        params: the package's tree, one subtree a layer; any float type.
        ids, mask: ``[batch, position]``; mask False on padding, None for none.
        zero: a component to ablate: ``{"head": (layer, head)}`` or ``{"neuron": (layer, index)}``.

    Returns:
        With B prompts of S columns: `embedding` [B,S,D], and `position_embedding` where positions are learned; per
        layer `q` [L,B,S,H,dh], `k`, `v` [L,B,S,Kv,dh], `pattern` [L,B,H,S,S], `z` [L,B,S,H,dh], `head_write`
        [L,B,S,H,D], `a` [L,B,S,F], `neuron_write` [L,B,S,F,D];
        `attn_bias` and `mlp_bias` [L,D] (the bias writes); per read site `residual` [2L+1,B,S,D], `sigma` [2L+1,B,S],
        `gamma` and `beta` [2L+1,D] (β 0 in RMSNorm); `logits` [B,S,V].
    """
    params = _float64(params)
    ids = np.asarray(ids)
    mask = np.ones(ids.shape, bool) if mask is None else np.asarray(mask)
    out: Arrays = {}
    for row, (prompt, real) in enumerate(zip(ids, mask, strict=True)):
        columns = np.flatnonzero(real)
        for name, value in _prompt(params, prompt[columns], config, zero or {}).items():
            layered = name not in _OUTSIDE
            value = value if layered else value[None]
            square = name == "pattern"
            shape = list(value.shape)
            for axis in (2, 3) if square else (1,):
                shape[axis] = ids.shape[1]
            whole = out.setdefault(name, np.zeros((shape[0], len(ids), *shape[1:])))
            if square:
                whole[:, row][np.ix_(range(shape[0]), range(shape[1]), columns, columns)] = value
            else:
                whole[:, row, columns] = value
    out |= {name: out[name][0] for name in _OUTSIDE if name in out}
    layers = [params["layers"][str(index)] for index in range(config.n_layers)]
    none = np.zeros(config.d_model)
    norms = [*(layer[norm] for layer in layers for norm in ("attn_norm", "mlp_norm")), params["final_norm"]]
    return out | {
        "attn_bias": np.stack([layer["attn"].get("b_O", none) for layer in layers]),
        "mlp_bias": np.stack([layer["mlp"].get("b_down", none) for layer in layers]),
        "gamma": config.gain_offset + np.stack([norm["gamma"] for norm in norms]),
        "beta": np.stack([norm.get("beta", none) for norm in norms]),
    }


def _float64(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {name: _float64(value) for name, value in tree.items()}
    return np.asarray(tree).astype(np.float64)
