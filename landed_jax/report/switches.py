"""The switches of `ModelConfig` in words: one table, from which both `landed models` and `landed info` speak."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby

from landed_jax.nn.config import ModelConfig
from landed_jax.nn.rope_config import RopeConfig

_RANGES = 4  # of layers, before an ellipsis


@dataclass(frozen=True)
class Switch:
    """What a few fields of `ModelConfig` do.

    Attributes:
        name: what they are about.
        fields: each with the words for a family that may set it.
        says: what they do in the model at hand; None where they do nothing.
    """

    name: str
    fields: Mapping[str, str]
    says: Callable[[ModelConfig], str | None]


def _joined(parts: Iterable[str]) -> str | None:
    return "; ".join(filter(None, parts)) or None


def _norms(config: ModelConfig) -> str | None:
    layer = "LayerNorm: the mean is taken off, and β is added" if config.norm == "layer" else ""
    return _joined([layer, f"γ = {config.gain_offset:g} + weight" if config.gain_offset else ""])


def _scores(config: ModelConfig) -> str | None:
    scale, usual = config.scoring.scale, config.head_dim**-0.5
    scaled = "" if scale == usual else f"times {scale:.6g}, where 1/√{config.head_dim} is {usual:.6g}"
    return _joined([scaled, _capped(config.attention_cap)])


def _embedding(config: ModelConfig) -> str | None:
    root = " (√d_model)" if config.embedding_scale == config.d_model**0.5 else ""
    rounded = ", rounded to the weights' type" if config.rounded_embedding_scale else ""
    is_scaled = config.embedding_scale != 1 or config.rounded_embedding_scale
    return f"times {config.embedding_scale:.6g}{root}{rounded}" if is_scaled else None


def _logits(config: ModelConfig) -> str | None:
    scaled = "" if config.logit_scale == 1 else f"times {config.logit_scale:.6g}"
    return _joined([scaled, _capped(config.logit_cap)])


def _capped(cap: float | None) -> str:
    return "" if cap is None else f"capped: {cap:g} · tanh(x / {cap:g})"


def _biases(config: ModelConfig) -> str | None:
    parts = {
        "queries, keys and values": config.qkv_bias,
        "attention's output": config.output_bias,
        "MLP": config.mlp_bias,
    }
    return _joined(name for name, has in parts.items() if has)


def _experts(config: ModelConfig) -> str | None:
    if not config.n_experts:
        return None
    weights = "the softmax over those" if config.router_normalised else "their part of the softmax over all"
    bias = "; the router has a bias" if config.router_bias else ""
    return f"{config.experts_per_token} of {config.n_experts} at each position, with {weights} as weights{bias}"


def _qk_norms(config: ModelConfig) -> str | None:
    over = {"head": "over each head's coordinates", "width": "over the coordinates of all heads"}
    return None if config.qk_norm is None else over[config.qk_norm]


def _window(config: ModelConfig) -> str | None:
    held = [layer for layer, window in enumerate(config.windows) if window is not None]
    return f"{config.sliding_window} positions{_in_layers(held, config)}" if held else None


def _rotary(config: ModelConfig) -> str | None:
    if not config.ropes:
        return None
    places: dict[int | None, list[int]] = {}
    for layer, kind in enumerate(config.kinds):
        places.setdefault(kind.rope, []).append(layer)
    said = [
        f"{'none' if rope is None else _one_rope(config.ropes[rope])}{_in_layers(layers, config)}"
        for rope, layers in places.items()
    ]
    part = "" if config.rotary_dim is None else f"of {config.rotary_dim} of {config.head_dim} coordinates of each head"
    return _joined([*said, part])


def _one_rope(rope: RopeConfig) -> str:
    scaling = {
        "default": "",
        "linear": f", linear scaling by {rope.factor:g}",
        "dynamic": f", dynamic scaling by {rope.factor:g}",
        "llama3": f", llama3 scaling by {rope.factor:g} from {rope.original_max_positions} positions, "
        f"factors {rope.low_freq_factor:g} to {rope.high_freq_factor:g}",
        "yarn": f", yarn scaling by {rope.factor:g} from {rope.original_max_positions} positions, turns "
        f"{rope.beta_fast:g} to {rope.beta_slow:g}{'' if rope.truncate else ', not truncated'}",
        "longrope": f", longrope scaling beyond {rope.original_max_positions} positions",
    }[rope.kind]
    grown = "" if rope.attention_factor == 1 else f", cos and sin times {rope.attention_factor:.6g}"
    return f"theta {rope.theta:g}{scaling}{grown}"


def _growth(config: ModelConfig) -> str | None:
    if not config.query_growth:
        return None
    whole = f"n the whole multiples of {config.rope.original_max_positions} in the position"
    return f"times 1 + {config.query_growth:g} · log(1 + n), {whole}"


def _in_layers(layers: list[int], config: ModelConfig) -> str:
    """How many and which, unless they are all.

    >>> _in_layers([0, 1, 2, 4], ModelConfig(**dict.fromkeys(("vocab_size", "d_model", "n_heads", "n_kv_heads"), 2),
    ...                                      n_layers=6, head_dim=2, d_ff=2))
    ' in 4 of 6 layers (0–2, 4)'
    """
    if len(layers) == config.n_layers:
        return ""
    runs = [[layer for _, layer in run] for _, run in groupby(enumerate(layers), lambda at: at[1] - at[0])]
    shown = [f"{run[0]}–{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs[:_RANGES]]
    more = ["…"] if len(runs) > _RANGES else []
    return f" in {len(layers)} of {config.n_layers} layers ({', '.join([*shown, *more])})"


SWITCHES = (
    Switch("norms of the stream", {"norm": "LayerNorm", "gain_offset": "γ = 1 + weight"}, _norms),
    Switch(
        "reads",
        {"input_norms": "blocks that read the stream itself"},
        lambda config: None if config.input_norms else "attention and MLP read the stream itself, through no norm",
    ),
    Switch(
        "norms behind blocks",
        {"output_norms": "norms behind blocks"},
        lambda config: (
            "what attention and the MLP put out passes an RMSNorm before it is added" if config.output_norms else None
        ),
    ),
    Switch(
        "blocks",
        {"parallel_blocks": "parallel blocks"},
        lambda config: "parallel: attention and MLP read the same stream" if config.parallel_blocks else None,
    ),
    Switch(
        "MLP",
        {"gated_mlp": "MLP without a gate"},
        lambda config: None if config.gated_mlp else "without a gate: a neuron reads along one direction",
    ),
    Switch(
        "experts",
        {
            "n_experts": "experts",
            "experts_per_token": "some of them at a position",
            "router_normalised": "weights over the chosen or over all experts",
            "router_bias": "router bias",
        },
        _experts,
    ),
    Switch(
        "learned positions",
        {"learned_positions": "learned positions"},
        lambda config: (
            f"a vector for each of {config.max_positions} is added to the embedding"
            if config.learned_positions
            else None
        ),
    ),
    Switch(
        "rotary embedding",
        {
            "rope": "rotary embedding",
            "rotary_layers": "rotary by layer",
            "local_rope": "rotary of its own in windows",
            "rotary_dim": "part of each head rotary",
        },
        _rotary,
    ),
    Switch("queries grow", {"query_growth": "queries grow with position"}, _growth),
    Switch("sliding window", {"sliding_window": "sliding window", "windowed_layers": "window by layer"}, _window),
    Switch("biases", {"qkv_bias": "q/k/v biases", "output_bias": "output bias", "mlp_bias": "MLP biases"}, _biases),
    Switch("query and key norms", {"qk_norm": "q/k norms"}, _qk_norms),
    Switch(
        "attention sinks",
        {"sinks": "attention sinks"},
        lambda config: "a learned score of each head takes a part of the softmax" if config.sinks else None,
    ),
    Switch("attention scores", {"attention_scale": "scale of scores", "attention_cap": "capped scores"}, _scores),
    Switch("embedding", {"embedding_scale": "scaled embedding", "rounded_embedding_scale": "rounded"}, _embedding),
    Switch(
        "writes of attention and MLP",
        {"residual_scale": "scaled writes"},
        lambda config: None if config.residual_scale == 1 else f"times {config.residual_scale:.6g}",
    ),
    Switch(
        "products",
        {"bfloat16_products": "products of bfloat16 factors"},
        lambda config: "of factors rounded to bfloat16, as asked" if config.bfloat16_products else None,
    ),
    Switch("logits", {"logit_scale": "scaled logits", "logit_cap": "capped logits"}, _logits),
)


def switch_words(held: Iterable[str]) -> str:
    """What a family that holds these fields has, or may have.

    >>> switch_words({"mlp_bias", "norm"})
    'LayerNorm, MLP biases'
    """
    held = frozenset(held)
    return ", ".join(words for switch in SWITCHES for field, words in switch.fields.items() if field in held)


def switch_facts(config: ModelConfig) -> list[tuple[str, str]]:
    """Each switch that is on, and what it is set to."""
    said = ((switch.name, switch.says(config)) for switch in SWITCHES)
    return [(name, words) for name, words in said if words is not None]
