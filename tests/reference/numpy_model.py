"""The decoder from its mathematics, in NumPy and float64, one prompt at a time: what the package is held against."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from landed_jax.nn.config import ModelConfig
from landed_jax.nn.rope_config import RopeConfig

Arrays = dict[str, np.ndarray]
_OUTSIDE = ("embedding", "position_embedding", "uncapped", "logits")

_erf = np.vectorize(math.erf, otypes=[float])


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


ACTIVATIONS = {
    "silu": lambda x: x * _sigmoid(x),
    "gelu": lambda x: x * (1 + _erf(x / math.sqrt(2))) / 2,
    "gelu_tanh": lambda x: x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
    "gelu_fast": lambda x: x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x**3))) / 2,
    "quick_gelu": lambda x: x * _sigmoid(1.702 * x),
    "relu": lambda x: np.maximum(x, 0),
    "relu2": lambda x: np.maximum(x, 0) ** 2,
}


def gated(activation: str, gate: np.ndarray, up: np.ndarray) -> np.ndarray:
    if activation == "clamped_swiglu":
        gate, up = np.minimum(gate, 7), np.minimum(np.maximum(up, -7), 7)
        return gate * _sigmoid(1.702 * gate) * (up + 1)
    return ACTIVATIONS[activation](gate) * up


def mlp_activations(part: Mapping[str, np.ndarray], heard: np.ndarray, config: ModelConfig) -> np.ndarray:
    """What one MLP's neurons put out, by their factors; `heard` is of one position, or of several."""

    def product(name: str) -> np.ndarray:
        return heard @ part[f"W_{name}"].T + part.get(f"b_{name}", 0)

    if config.gated_mlp:
        return gated(config.activation, product("gate"), product("up"))
    return ACTIVATIONS[config.activation](product("in"))


def router_logits(experts: Mapping[str, np.ndarray], heard: np.ndarray) -> np.ndarray:
    return heard @ experts["W_router"].T + experts.get("b_router", 0)


def chosen_experts(
    experts: Mapping[str, np.ndarray], heard: np.ndarray, config: ModelConfig
) -> list[tuple[int, float]]:
    """One position's experts with their weights, that with the largest logit first."""
    logits = router_logits(experts, heard)
    ids = sorted(range(config.n_experts), key=lambda expert: (-logits[expert], expert))[: config.experts_per_token]
    among = ids if config.router_normalised else range(config.n_experts)
    total = sum(math.exp(logits[expert] - logits.max()) for expert in among)
    return [(expert, math.exp(logits[expert] - logits.max()) / total) for expert in ids]


def expert_outputs(experts: Mapping[str, np.ndarray], heard: np.ndarray, config: ModelConfig) -> dict[str, np.ndarray]:
    """One position after another, one expert after another: factors, columns, the sum of biases, ids and weights."""
    found: dict[str, list[np.ndarray]] = {}
    for x in heard:
        a, columns, bias = [], [], np.zeros(config.d_model)
        chosen = chosen_experts(experts, x, config)
        for expert, weight in chosen:
            own = {name: value[expert] for name, value in experts.items() if not name.endswith("router")}
            a.append(weight * mlp_activations(own, x, config))
            columns.append(own["W_down"].T)
            bias = bias + weight * own.get("b_down", 0)
        one = {"a": np.concatenate(a), "columns": np.concatenate(columns), "bias": bias}
        one |= {"expert": np.array([e for e, _ in chosen]), "expert_weight": np.array([p for _, p in chosen])}
        for name, value in one.items():
            found.setdefault(name, []).append(value)
    return {name: np.stack(values) for name, values in found.items()}


def frequencies(rope: RopeConfig, config: ModelConfig, length: int) -> np.ndarray:
    """Radians per position of each rotated pair, for a prompt of `length` tokens."""
    dim = config.rotary_dim or config.head_dim
    theta = rope.theta
    if rope.kind == "dynamic" and length > config.max_positions:
        stretch = rope.factor * length / config.max_positions - (rope.factor - 1)
        theta *= stretch ** (dim / (dim - 2))
    plain = np.array([theta ** (-2 * i / dim) for i in range(dim // 2)])
    if rope.kind == "longrope":
        return plain / (rope.long_factors if length > rope.original_max_positions else rope.short_factors)
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


def root_mean_square(x: np.ndarray, config: ModelConfig) -> np.ndarray:
    return np.sqrt((x**2).sum(-1) / x.shape[-1] + config.norm_eps)


def rms_norm(x: np.ndarray, weight: np.ndarray, config: ModelConfig) -> np.ndarray:
    return x * (config.gain_offset + weight) / root_mean_square(x, config)[..., None]


def soft_capped(x: np.ndarray, cap: float | None) -> np.ndarray:
    return x if cap is None else cap * np.tanh(x / cap)


def _prompt(params: Any, ids: np.ndarray, config: ModelConfig, zero: Mapping[str, tuple[int, int]]) -> Arrays:
    length = len(ids)
    seen: dict[str, list[np.ndarray]] = {}

    def keep(**values: np.ndarray) -> None:
        for name, value in values.items():
            seen.setdefault(name, []).append(value)

    def norm(x: np.ndarray, part: Mapping[str, np.ndarray] | None) -> np.ndarray:
        if part is None:  # the block reads the stream itself
            keep(residual=x, sigma=np.ones(length))
            return x
        seen = x - x.sum(-1, keepdims=True) / config.d_model if config.norm == "layer" else x
        keep(residual=x, sigma=root_mean_square(seen, config))
        return rms_norm(seen, part["gamma"], config) + part.get("beta", 0)

    def added(layer: Mapping[str, Any], name: str, parts: np.ndarray, bias: np.ndarray) -> np.ndarray:
        """What an output ``[position, part, d_model]`` adds to the stream, kept part by part."""
        gamma, out = layer.get(f"{name}_out_norm", {}).get("gamma"), parts.sum(1) + bias

        def written(y: np.ndarray, of: np.ndarray) -> np.ndarray:
            """The part y of an output `of`, through the norm's scale of that output."""
            if gamma is None:
                return config.residual_scale * y
            return config.residual_scale * y * (config.gain_offset + gamma) / root_mean_square(of, config)[..., None]

        whole, wide = written(out, out), out[:, None]
        kind = {"attn": "head", "mlp": "neuron"}[name]
        without, bare = wide - parts, out - bias
        keep(
            **{
                f"{kind}_out": parts,
                f"{name}_scale": written(np.ones_like(out), out),
                f"{kind}_write": written(parts, wide),
                f"{kind}_lost": whole[:, None] - written(without, without),
                f"{name}_bias": written(bias + 0 * out, out),
                f"{name}_bias_out": bias + 0 * out,
                f"{name}_bias_lost": whole - written(bare, bare),
            }
        )
        return whole

    query, key = np.arange(length)[:, None], np.arange(length)[None]
    x = embedding = config.embedding_scale * params["embed"]["W_E"][ids]
    if config.learned_positions:
        places = params["embed"]["W_pos"][:length]
        x = x + places
    for index in range(config.n_layers):
        layer = params["layers"][str(index)]
        windowed = config.sliding_window and (not config.windowed_layers or config.windowed_layers[index])
        hidden = (key > query) | (query - key >= (config.sliding_window if windowed else length))
        attn = layer["attn"]
        heard, before = norm(x, layer.get("attn_norm")), x
        q, k, v = (np.einsum("hed,sd->she", attn[f"W_{n}"], heard) + attn.get(f"b_{n}", 0) for n in "QKV")
        if config.qk_norm == "head":  # the root mean square over each head's own coordinates
            q, k = (rms_norm(x, attn[f"{n}_gamma"], config) for x, n in ((q, "q"), (k, "k")))
        elif config.qk_norm == "width":  # over those of all heads together
            q, k = (
                rms_norm(x.reshape(length, -1), attn[f"{n}_width_gamma"].ravel(), config).reshape(x.shape)
                for x, n in ((q, "q"), (k, "k"))
            )
        if not config.rotary_layers or config.rotary_layers[index]:
            rope = config.local_rope if windowed and config.local_rope else config.rope
            q, k = rotate(q, rope, config), rotate(k, rope, config)
        if config.query_growth:
            times = [position // config.rope.original_max_positions for position in range(length)]
            q = q * np.array([1 + config.query_growth * math.log(1 + n) for n in times])[:, None, None]
        z, pattern = np.zeros_like(q), np.zeros((config.n_heads, length, length))
        for head in range(config.n_heads):
            group = head // (config.n_heads // config.n_kv_heads)
            scale = 1 / math.sqrt(config.head_dim) if config.attention_scale is None else config.attention_scale
            scores = soft_capped(q[:, head] @ k[:, group].T * scale, config.attention_cap)
            scores = np.where(hidden, -np.inf, scores)
            weights, total = np.exp(scores - scores.max(-1, keepdims=True)), 0
            if config.sinks:
                total = np.exp(attn["sinks"][head] - scores.max(-1, keepdims=True))
            pattern[head] = weights / (total + weights.sum(-1, keepdims=True))
            z[:, head] = pattern[head] @ v[:, group]
        if zero.get("head", (None,))[0] == index:
            z[:, zero["head"][1]] = 0
        none = np.zeros(config.d_model)
        x = x + added(layer, "attn", np.einsum("she,dhe->shd", z, attn["W_O"]), attn.get("b_O", none))
        heard = norm(before if config.parallel_blocks else x, layer.get("mlp_norm"))
        if config.n_experts:
            found = expert_outputs(layer["experts"], heard, config)
            a, columns, bias = (found[name] for name in ("a", "columns", "bias"))
            keep(expert=found["expert"], expert_weight=found["expert_weight"])
            keep(router=router_logits(layer["experts"], heard))
        else:
            a = mlp_activations(layer["mlp"], heard, config)
            columns, bias = layer["mlp"]["W_down"].T, layer["mlp"].get("b_down", none)
        if zero.get("neuron", (None,))[0] == index:
            a[:, zero["neuron"][1]] = 0
        x = x + added(layer, "mlp", a[:, :, None] * columns, bias)
        keep(q=q, k=k, v=v, pattern=pattern, z=z, a=a)
    final = norm(x, params["final_norm"])
    unembed = params["embed"]["W_E"] if config.tie_embeddings else params["unembed"]["W_U"]
    return {name: np.stack(values) for name, values in seen.items()} | {
        **({"position_embedding": places} if config.learned_positions else {}),
        "embedding": embedding,
        "uncapped": (uncapped := config.logit_scale * final @ unembed.T),
        "logits": soft_capped(uncapped, config.logit_cap),
    }


def numpy_forward(
    params: Any, ids: Any, mask: Any, config: ModelConfig, zero: Mapping[str, tuple[int, int]] | None = None
) -> Arrays:
    """Every number of the forward pass, each prompt run alone and put back in its columns (0 on padding).

    Args:
        params: the package's tree, one subtree a layer; any float type.
        ids, mask: ``[batch, position]``; mask False on padding, None for none.
        zero: a component to ablate: ``{"head": (layer, head)}`` or ``{"neuron": (layer, index)}``; of experts the index
            counts the neurons of the first chosen one, then of the next.

    Returns:
        With B prompts of S columns: `embedding` [B,S,D], and `position_embedding` where positions are learned; per
        layer `q` [L,B,S,H,dh], `k`, `v` [L,B,S,Kv,dh], `pattern` [L,B,H,S,S], `z` [L,B,S,H,dh], `head_write`
        [L,B,S,H,D], `a` [L,B,S,F], `neuron_write` [L,B,S,F,D] (with experts F are the neurons of those chosen, whose
        logits, numbers and weights are `router` [L,B,S,E], `expert` and `expert_weight` [L,B,S,K]); `attn_bias` and
        `mlp_bias` [L,B,S,D] (the bias writes); `head_lost`, `neuron_lost`, `attn_bias_lost`, `mlp_bias_lost`: what the
        stream loses without each, an output norm's scale recomputed; `head_out`, `neuron_out`, `attn_bias_out`,
        `mlp_bias_out`: what goes into that norm, and `attn_scale`, `mlp_scale` [L,B,S,D], what each of its coordinates
        is multiplied with; per read site `residual` [2L+1,B,S,D], `sigma` [2L+1,B,S], `gamma` and `beta` [2L+1,D] (β 0
        in RMSNorm); `logits` [B,S,V], and `uncapped`, the same before a cap.
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
    layers, raw = [params["layers"][str(index)] for index in range(config.n_layers)], np.ones(config.d_model)
    parts = [*(layer.get(norm) for layer in layers for norm in ("attn_norm", "mlp_norm")), params["final_norm"]]
    return out | {
        "gamma": np.stack([raw if part is None else config.gain_offset + part["gamma"] for part in parts]),
        "beta": np.stack([0 * raw if part is None else part.get("beta", 0 * raw) for part in parts]),
    }


def _float64(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {name: _float64(value) for name, value in tree.items()}
    return np.asarray(tree).astype(np.float64)
