"""The architecture's facts, as one frozen, hashable value (a static argument of every jitted function)."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, get_args

from landed_jax.errors import LandedError, listed

Family = Literal["llama", "mistral"]
RopeKind = Literal["default", "linear", "dynamic", "llama3", "yarn"]
Activation = Literal["silu", "gelu", "gelu_tanh", "quick_gelu", "relu", "relu2"]

LARGEST_FLOAT32 = (2 - 2.0**-23) * 2.0**127
_SMALLEST_FLOAT32 = 2.0**-149
# Within these no frequency, angle or score overflows in float32, whatever the head's size and the prompt's length.
_ROPE_BOUNDS = {
    "theta": (1e-9, 1e30),
    "factor": (1e-9, 1e30),
    "low_freq_factor": (1e-9, 1e30),
    "high_freq_factor": (1e-9, 1e30),
    "beta_fast": (1e-9, 1e30),
    "beta_slow": (1e-9, 1e30),
    "attention_factor": (1e-9, 1e9),
}


def is_positive_float32(value: Any) -> bool:
    """Whether a value is a number above 0 that is neither 0 nor infinite in float32.

    >>> is_positive_float32(1e-6), is_positive_float32(1e-50), is_positive_float32(1e308), is_positive_float32("1")
    (True, False, False, False)
    """
    return _is_number(value) and _SMALLEST_FLOAT32 <= value <= LARGEST_FLOAT32


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)  # NumPy's float64 is a float


@dataclass(frozen=True)
class RopeConfig:
    """Rotary position embedding: the base and how the frequencies are scaled.

    `attention_factor` multiplies cos and sin (YaRN); `original_max_positions` is the context length before
    scaling (llama3 and yarn).
    """

    kind: RopeKind = "default"
    theta: float = 10_000.0
    factor: float = 1.0
    original_max_positions: int = 0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = True
    attention_factor: float = 1.0


@dataclass(frozen=True)
class ModelConfig:
    """A pre-norm decoder of the Llama and Mistral kind.

    Attributes:
        d_ff: neurons per layer, the width of the gated MLP.
        attention_bias: biases on the query, key, value and output products.
        mlp_bias: biases on the gate, up and down products.
        sliding_window: how many positions a query sees, itself included; None for all.
        max_positions: the length the checkpoint was made for (dynamic rotary scaling starts beyond it).

    >>> ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12).group_size
    2
    """

    vocab_size: int
    d_model: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    d_ff: int
    family: Family = "llama"
    activation: Activation = "silu"
    norm_eps: float = 1e-6
    max_positions: int = 2048
    rope: RopeConfig = RopeConfig()
    sliding_window: int | None = None
    attention_bias: bool = False
    mlp_bias: bool = False
    tie_embeddings: bool = False

    def __post_init__(self) -> None:
        sizes = ("vocab_size", "d_model", "n_layers", "n_heads", "n_kv_heads", "head_dim", "d_ff", "max_positions")
        wrong = [
            f"{name} is {getattr(self, name)!r}, not a positive whole number below 2**31"
            for name in sizes
            if type(getattr(self, name)) is not int or not 0 < getattr(self, name) < 2**31
        ]
        if not is_positive_float32(self.norm_eps):
            wrong.append(f"norm_eps is {self.norm_eps!r}, not a number above 0 that float32 holds")
        for name, (least, most) in _ROPE_BOUNDS.items():
            value = getattr(self.rope, name)
            if not _is_number(value) or not least <= value <= most:
                wrong.append(f"the rotary {name} is {value!r}, not a number from {least:g} to {most:g}")
        if self.family not in get_args(Family):
            wrong.append(f"family {self.family!r} is not one of {', '.join(get_args(Family))}")
        if not wrong and self.n_heads % self.n_kv_heads:
            wrong.append(f"n_heads {self.n_heads} is not a multiple of n_kv_heads {self.n_kv_heads}")
        if not wrong and self.head_dim % 2:
            wrong.append(f"head_dim {self.head_dim} is odd, and rotary embedding turns pairs of coordinates")
        if not wrong and self.rope.kind == "dynamic" and self.head_dim == 2:
            wrong.append("dynamic rotary scaling divides by head_dim - 2, which is 0")
        if self.activation not in get_args(Activation):
            wrong.append(f"activation {self.activation!r} is not one of {', '.join(get_args(Activation))}")
        if self.rope.kind not in get_args(RopeKind):
            wrong.append(f"rope kind {self.rope.kind!r} is not one of {', '.join(get_args(RopeKind))}")
        if self.rope.kind in ("llama3", "yarn") and self.rope.original_max_positions < 1:
            wrong.append(f"rope kind {self.rope.kind} needs original_max_positions")
        if self.sliding_window is not None and (type(self.sliding_window) is not int or self.sliding_window < 1):
            wrong.append(f"sliding_window {self.sliding_window!r} is not a positive whole number or None")
        if wrong:
            raise LandedError(f"This model configuration cannot be: {listed(wrong)}.")

    @property
    def group_size(self) -> int:
        """Query heads that share one key and value head."""
        return self.n_heads // self.n_kv_heads

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; `from_dict` reads them back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ModelConfig":
        """The inverse of `to_dict`.

        Raises:
            LandedError: for a field that is missing or unknown.
        """
        try:
            return cls(**{**values, "rope": RopeConfig(**values["rope"])})
        except (TypeError, KeyError) as error:
            raise LandedError(f"These are not the fields of a model configuration: {error}.") from error
