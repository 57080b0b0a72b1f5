"""The architecture's facts, as one frozen, hashable value (a static argument of every jitted function)."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

from landed_jax.errors import LandedError, first_line, listed, shown

RopeKind = Literal["default", "linear", "dynamic", "llama3", "yarn"]
Activation = Literal["silu", "gelu", "gelu_tanh", "quick_gelu", "relu", "relu2"]

LARGEST_FLOAT32 = (2 - 2.0**-23) * 2.0**127
_SMALLEST_FLOAT32 = 2.0**-149
# Larger sizes come from damaged or hostile files, and nothing may be made or looped over in such a size. Each is at
# least 16 times the largest of any published model.
LARGEST = {
    "vocab_size": 2**24,
    "d_model": 2**19,
    "n_layers": 2**12,
    "n_heads": 2**13,
    "n_kv_heads": 2**13,
    "head_dim": 2**14,
    "d_ff": 2**21,
    "max_positions": 2**31 - 1,  # positions are 32-bit
}
_MOST_PARAMETERS = 2**45
_FLAGS = ("qkv_bias", "output_bias", "mlp_bias", "tie_embeddings", "input_norms", "output_norms")
_FACTORS = ("embedding_scale", "residual_scale", "logit_scale")
_OPTIONAL_FACTORS = ("attention_scale", "attention_cap", "logit_cap")
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


def _is_size(value: Any, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most


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

    def __post_init__(self) -> None:
        for name, (least, most) in _ROPE_BOUNDS.items():
            value = getattr(self, name)
            if _is_number(value) and least <= value <= most:
                object.__setattr__(self, name, float(value))  # JAX takes no whole number beyond 63 bits

    def problems(self) -> list[str]:
        """Every reason why these settings cannot be."""
        wrong = []
        for name, (least, most) in _ROPE_BOUNDS.items():
            value = getattr(self, name)
            if not _is_number(value) or not least <= value <= most:
                wrong.append(f"the rotary {name} is {shown(value)}, not a number from {least:g} to {most:g}")
        if self.kind not in get_args(RopeKind):
            wrong.append(f"rope kind {shown(self.kind)} is not one of {', '.join(get_args(RopeKind))}")
        if type(self.truncate) is not bool:
            wrong.append(f"the rotary truncate is {shown(self.truncate)}, not true or false")
        if not _is_size(self.original_max_positions, 0, 2**31 - 1):
            original = shown(self.original_max_positions)
            wrong.append(f"original_max_positions is {original}, not a whole number from 0 to {2**31 - 1}")
        elif self.kind in ("llama3", "yarn") and self.original_max_positions < 1:
            wrong.append(f"rope kind {self.kind} needs original_max_positions")
        if not wrong and self.kind == "llama3" and self.high_freq_factor <= self.low_freq_factor:
            wrong.append(
                f"high_freq_factor {self.high_freq_factor} is not above low_freq_factor {self.low_freq_factor}"
            )
        if not wrong and self.kind == "yarn" and self.theta == 1:
            wrong.append("yarn divides by the logarithm of theta, which is 0 where theta is 1")
        return wrong


class LayerKind(NamedTuple):
    """In what the layers of one model may differ: each kind is compiled once.

    Attributes:
        window: how many positions a query sees, or None for all.
        rotary: whether queries and keys are rotated.
    """

    window: int | None = None
    rotary: bool = True


class Scoring(NamedTuple):
    """How attention's scores are made.

    Attributes:
        scale: a factor of the products of queries and keys.
        cap: scores s become ``cap · tanh(s / cap)``; None for no cap.
    """

    scale: float
    cap: float | None = None


@dataclass(frozen=True)
class ModelConfig:
    """A pre-norm decoder as one stream with reads and writes, and the switches in which families differ.

    Attributes:
        d_ff: neurons per layer, the width of the gated MLP.
        qkv_bias: biases on the query, key and value products.
        output_bias: a bias on attention's output product.
        qk_norm: queries and keys pass an RMSNorm of their own before the rotary embedding: over each head's
            coordinates (``"head"``: Qwen 3, Gemma 3) or over those of all heads (``"width"``: OLMo 2).
        mlp_bias: biases on the gate, up and down products.
        sliding_window: how many positions a query sees, itself included; None for all.
        windowed_layers: for each layer, whether the window holds there; empty where it holds in all.
        rotary_layers: for each layer, whether queries and keys are rotated there; empty where they are in all.
        gain_offset: what a norm adds to its weight to make γ: 1 in Gemma.
        embedding_scale: a factor of the embedding's write, rounded to the weights' type where that is narrower than
            float32 (Gemma).
        input_norms: attention and MLP read the stream through a norm; without, they read the stream itself (OLMo 2).
        output_norms: what attention and the MLP put out passes an RMSNorm before it is added (Gemma 2, OLMo 2).
        residual_scale: a factor of all that attention and the MLP add to the stream (Granite).
        attention_scale: a factor of the products of queries and keys; None for ``head_dim ** -0.5``.
        attention_cap: scores s become ``cap · tanh(s / cap)`` (Gemma 2); None for no cap.
        logit_scale: a factor of the logits (Granite).
        logit_cap: logits l become ``cap · tanh(l / cap)`` (Gemma 2); None for no cap.
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
    family: str = "llama"
    activation: Activation = "silu"
    norm_eps: float = 1e-6
    max_positions: int = 2048
    rope: RopeConfig = RopeConfig()
    sliding_window: int | None = None
    windowed_layers: tuple[bool, ...] = ()
    rotary_layers: tuple[bool, ...] = ()
    gain_offset: float = 0.0
    embedding_scale: float = 1.0
    qkv_bias: bool = False
    output_bias: bool = False
    qk_norm: Literal["head", "width"] | None = None
    mlp_bias: bool = False
    tie_embeddings: bool = False
    input_norms: bool = True
    output_norms: bool = False
    residual_scale: float = 1.0
    attention_scale: float | None = None
    attention_cap: float | None = None
    logit_scale: float = 1.0
    logit_cap: float | None = None

    def __post_init__(self) -> None:
        wrong = [
            f"{name} is {shown(getattr(self, name))}, not a whole number from 1 to {most}"
            for name, most in LARGEST.items()
            if not _is_size(getattr(self, name), 1, most)
        ]
        if not wrong:
            wrong += self._misfits()
        if is_positive_float32(self.norm_eps):
            object.__setattr__(self, "norm_eps", float(self.norm_eps))
        else:
            wrong.append(f"norm_eps is {shown(self.norm_eps)}, not a number above 0 that float32 holds")
        if not isinstance(self.rope, RopeConfig):
            wrong.append(f"rope is {shown(self.rope)}, not a RopeConfig")
        else:
            wrong += self.rope.problems()
        if not isinstance(self.family, str):
            wrong.append(f"family is {shown(self.family)}, not a name")
        if self.activation not in get_args(Activation):
            wrong.append(f"activation {shown(self.activation)} is not one of {', '.join(get_args(Activation))}")
        if self.sliding_window is not None and not _is_size(self.sliding_window, 1, 2**31 - 1):
            wrong.append(
                f"sliding_window {shown(self.sliding_window)} is not a whole number from 1 to {2**31 - 1} or None"
            )
        for name in _FLAGS:
            if type(getattr(self, name)) is not bool:
                wrong.append(f"{name} is {shown(getattr(self, name))}, not true or false")
        for name in ("windowed_layers", "rotary_layers"):
            layers = getattr(self, name)
            if not isinstance(layers, tuple) or not all(type(layer) is bool for layer in layers):
                wrong.append(f"{name} is {shown(layers)}, not true or false for each layer")
            elif layers and len(layers) != self.n_layers:
                wrong.append(f"{name} has {len(layers)} values, not one for each layer")
            elif all(layers) or (name == "windowed_layers" and not any(layers)):
                if layers and not any(layers):
                    object.__setattr__(self, "sliding_window", None)
                object.__setattr__(self, name, ())  # one form for each model: no list where all layers are alike
        if self.windowed_layers and self.sliding_window is None:
            wrong.append("windowed_layers needs a sliding_window")
        wrong += self._numbers()
        if wrong:
            raise LandedError(f"This model configuration cannot be: {listed(wrong)}.")

    def _numbers(self) -> list[str]:
        """Factors and caps that cannot be; the others become floats."""
        wrong = []
        if self.qk_norm not in (None, "head", "width"):
            wrong.append(f"qk_norm is {shown(self.qk_norm)}, not head, width or None")
        if not (self.input_norms or self.output_norms):
            wrong.append("a model without input_norms needs output_norms")
        for name in ("gain_offset", *_FACTORS, *_OPTIONAL_FACTORS):
            value = getattr(self, name)
            if value is None and name in _OPTIONAL_FACTORS:
                continue
            if isinstance(value, float | int) and (is_positive_float32(value) or (name == "gain_offset" and not value)):
                object.__setattr__(self, name, float(value))
            else:
                wrong.append(f"{name} is {shown(value)}, not a number above 0 that float32 holds")
        return wrong

    def _misfits(self) -> list[str]:
        """Sizes that are sound by themselves and do not fit each other."""
        wrong = []
        if self.n_heads % self.n_kv_heads:
            wrong.append(f"n_heads {self.n_heads} is not a multiple of n_kv_heads {self.n_kv_heads}")
        if self.head_dim % 2:
            wrong.append(f"head_dim {self.head_dim} is odd, and rotary embedding turns pairs of coordinates")
        if self.head_dim == 2 and getattr(self.rope, "kind", None) == "dynamic":
            wrong.append("dynamic rotary scaling divides by head_dim - 2, which is 0")
        heads = 2 * (self.n_heads + self.n_kv_heads) * self.head_dim
        if self.d_model * (self.vocab_size + self.n_layers * (heads + 3 * self.d_ff)) > _MOST_PARAMETERS:
            wrong.append(f"these sizes make a model of more than 2**{_MOST_PARAMETERS.bit_length() - 1} parameters")
        return wrong

    @property
    def group_size(self) -> int:
        """Query heads that share one key and value head."""
        return self.n_heads // self.n_kv_heads

    def has_norm(self, site: str) -> bool:
        """Whether the read at ``attn``, ``mlp`` or ``final``, or at a read site's name, passes a norm.

        >>> sizes = dict(vocab_size=2, d_model=2, n_layers=1, n_heads=1, n_kv_heads=1, head_dim=2, d_ff=2)
        >>> config = ModelConfig(**sizes, input_norms=False, output_norms=True)
        >>> config.has_norm("0.mlp"), config.has_norm("final")
        (False, True)
        """
        return self.input_norms or site == "final"

    @property
    def scoring(self) -> "Scoring":
        """How attention's scores are made of queries and keys."""
        scale = self.head_dim**-0.5 if self.attention_scale is None else self.attention_scale
        return Scoring(scale, self.attention_cap)

    @property
    def kinds(self) -> tuple["LayerKind", ...]:
        """Each layer's kind.

        >>> sizes = dict(vocab_size=2, d_model=2, n_layers=2, n_heads=1, n_kv_heads=1, head_dim=2, d_ff=2)
        >>> ModelConfig(**sizes, rotary_layers=(True, False)).kinds
        (LayerKind(window=None, rotary=True), LayerKind(window=None, rotary=False))
        """
        rotary = self.rotary_layers or (True,) * self.n_layers
        return tuple(LayerKind(window, turned) for window, turned in zip(self.windows, rotary, strict=True))

    @property
    def windows(self) -> tuple[int | None, ...]:
        """Each layer's sliding window, or None.

        >>> sizes = dict(vocab_size=2, d_model=2, n_layers=2, n_heads=1, n_kv_heads=1, head_dim=2, d_ff=2)
        >>> ModelConfig(**sizes, sliding_window=4, windowed_layers=(False, True)).windows
        (None, 4)
        """
        held = self.windowed_layers or (True,) * self.n_layers
        return tuple(self.sliding_window if windowed else None for windowed in held)

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
            rope = RopeConfig(**values["rope"])
            layers = {name: tuple(values[name]) for name in ("windowed_layers", "rotary_layers")}  # JSON has lists
            config = cls(**{**values, **layers, "rope": rope})
        except (TypeError, KeyError) as error:
            raise LandedError(f"These are not the fields of a model configuration: {first_line(error)}.") from error
        return config
