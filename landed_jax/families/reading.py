"""Fields that several families have, read in one way."""

from collections.abc import Callable
from typing import Any

from landed_jax.checkpoints.hf.fields import Fields
from landed_jax.errors import LandedError
from landed_jax.nn.config import Activation, ModelConfig

ACTIVATIONS: dict[str, Activation] = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_fast",
    "gelu_pytorch_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
    "relu2": "relu2",
}
FULL, SLIDING = "full_attention", "sliding_attention"
EXPERT_SWITCHES = frozenset({"n_experts", "experts_per_token"})


def optional_flag(fields: Fields, name: str) -> bool:
    """True or false; absent and null are false."""
    return fields.flag(name, False) if fields.take(name) is not None else False


def refuse_if_set(fields: Fields, name: str, why: str) -> None:
    """Refuse a field, unless it is absent, null or false."""
    if fields.take(name):
        fields.refuse(name, why)


def all_layers_alike(fields: Fields, n_layers: int, kind: str) -> None:
    """Refuse ``layer_types`` that name another kind of attention for any layer."""
    if fields.take("layer_types") not in (None, [], [kind] * n_layers):
        fields.refuse("layer_types", f"every one of the {n_layers} layers must be {kind}")


def layer_kinds(fields: Fields, default: list[str]) -> list[str]:
    """``layer_types``, full or sliding for each layer; where they are not there, `default`."""
    kinds = fields.take("layer_types")
    kinds = default if kinds is None else kinds
    n_layers = len(default)
    if not isinstance(kinds, list) or len(kinds) != n_layers or not all(kind in (FULL, SLIDING) for kind in kinds):
        fields.refuse("layer_types", f"not a list of {FULL} or {SLIDING} for each of the {n_layers} layers")
        return default
    return kinds


def optional_positive(fields: Fields, name: str, default: float | None) -> float | None:
    """A number above 0; null is None."""
    return None if fields.take(name, default) is None else fields.positive(name, default or 1.0)


def activation_in(fields: Fields, name: str, default: str) -> Activation:
    """An activation function in a field of another name than ``hidden_act``."""
    found = fields.take(name, default)
    if isinstance(found, str) and found in ACTIVATIONS:
        return ACTIVATIONS[found]
    fields.refuse(name, f"not one of {', '.join(ACTIVATIONS)}")
    return "silu"


def activation_name(config: ModelConfig) -> str:
    """The inverse.

    Raises:
        LandedError: for an activation that has no name in config.json.
    """
    names = [name for name, ours in ACTIVATIONS.items() if ours == config.activation]
    require(config, bool(names), f"has no {config.activation}")
    return names[0]


def windows_by_layer(
    fields: Fields, n_layers: int, in_window: Callable[[int], bool], default: int | None = 4096
) -> dict[str, Any]:
    """Windows of some layers, only where ``use_sliding_window`` is true.

    Args:
        in_window: the layers that have the window where ``layer_types`` does not say it.
        default: the window where it is not given.
    """
    window = None
    if optional_flag(fields, "use_sliding_window") and fields.take("sliding_window", default) is not None:
        window = fields.whole("sliding_window", default or 1)
    fields.take("sliding_window")
    held = [SLIDING if window is not None and in_window(layer) else FULL for layer in range(n_layers)]
    kinds = layer_kinds(fields, held)
    if window is None and SLIDING in kinds:
        fields.refuse("layer_types", "there is no sliding window: use_sliding_window is not true")
        return {}
    windowed = tuple(kind == SLIDING for kind in kinds)
    return {"sliding_window": window, "windowed_layers": windowed if window is not None else ()}


def windows_from_a_layer_on(fields: Fields, n_layers: int) -> dict[str, Any]:
    """Qwen's windows: from layer ``max_window_layers`` on."""
    first = fields.take("max_window_layers", 28)
    if first is None:
        first = 28
    elif type(first) is not int or first != 0:
        first = fields.whole("max_window_layers", 28)
    return windows_by_layer(fields, n_layers, lambda layer: layer >= first)


def window_fields(config: ModelConfig) -> dict[str, Any]:
    """The inverse of `windows_by_layer`."""
    kinds = [FULL if window is None else SLIDING for window in config.windows]
    return {
        "use_sliding_window": config.sliding_window is not None,
        "sliding_window": config.sliding_window,
        "layer_types": kinds,
    }


def require(config: ModelConfig, has: bool, what: str) -> None:
    """Refuse to write a model as a family that cannot hold it.

    Raises:
        LandedError: unless `has`.
    """
    if not has:
        raise LandedError(f"A {config.family} in Hugging Face layout {what}: this model cannot be written as one.")


def experts_in(fields: Fields, count: int, used: int) -> dict[str, Any]:
    """How many experts each layer has, and how many of them work on a token; by either name of the first."""
    name = "num_local_experts" if "num_local_experts" in fields.values else "num_experts"
    return {"n_experts": fields.whole(name, count), "experts_per_token": fields.whole("num_experts_per_tok", used)}
