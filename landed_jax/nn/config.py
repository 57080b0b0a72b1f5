"""The architecture's facts, as one frozen, hashable value (a static argument of every jitted function)."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

from landed_jax.errors import LandedError, first_line, listed, shown
from landed_jax.nn.rope_config import DEFAULT_ROPE, RopeConfig
from landed_jax.nn.values import LARGEST_FLOAT32, SMALLEST_FLOAT32, is_number, is_positive_float32, is_size

Norm = Literal["rms", "layer"]
Activation = Literal["silu", "gelu", "gelu_tanh", "quick_gelu", "relu", "relu2"]

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
_FLAGS = (
    *("parallel_blocks", "gated_mlp", "learned_positions"),
    *("qkv_bias", "output_bias", "qk_norm", "mlp_bias", "tie_embeddings"),
)


class LayerKind(NamedTuple):
    """In what the layers of one model may differ: each kind is compiled once.

    Attributes:
        window: how many positions a query sees, or None for all.
        rope: which of the model's `ropes` turns queries and keys, or None for none.
    """

    window: int | None = None
    rope: int | None = 0


@dataclass(frozen=True)
class ModelConfig:
    """A pre-norm decoder as one stream with reads and writes, and the switches in which families differ.

    Attributes:
        d_ff: neurons per layer, the width of the MLP.
        norm: what reads the stream: ``rms``, or ``layer`` (Ba et al. 2016), which takes the mean off and adds a bias β.
        parallel_blocks: a layer's attention and MLP read the same stream (GPT-NeoX), and not one after the other.
        gated_mlp: whether a neuron's activation is multiplied with an up product; without, it has one product alone.
        learned_positions: whether a vector for the token's position is added to its embedding (GPT-2).
        qkv_bias: biases on the query, key and value products.
        output_bias: a bias on attention's output product.
        qk_norm: each head's query and key pass an RMSNorm of their own before the rotary embedding (Qwen3).
        mlp_bias: biases on the gate, up and down products, or, without a gate, on both products.
        sliding_window: how many positions a query sees, itself included; None for all.
        windowed_layers: for each layer, whether the window holds there; empty where it holds in all.
        rotary_layers: for each layer, whether queries and keys are rotated there; empty where they are in all.
        local_rope: the rotary embedding of the windowed layers, where it is another than that of the others (Gemma 3).
        rotary_dim: how many coordinates of each head are rotated, the first ones; None for all.
        gain_offset: what a norm adds to its weight to make γ: 1 in Gemma.
        embedding_scale: a factor of the embedding's write, rounded to the weights' type where that is narrower than
            float32 (Gemma).
        max_positions: the length the checkpoint was made for. Dynamic rotary scaling starts beyond it; learned
            positions end there.

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
    norm: Norm = "rms"
    norm_eps: float = 1e-6
    parallel_blocks: bool = False
    gated_mlp: bool = True
    learned_positions: bool = False
    max_positions: int = 2048
    rope: RopeConfig = DEFAULT_ROPE
    local_rope: RopeConfig | None = None
    rotary_dim: int | None = None
    sliding_window: int | None = None
    windowed_layers: tuple[bool, ...] = ()
    rotary_layers: tuple[bool, ...] = ()
    gain_offset: float = 0.0
    embedding_scale: float = 1.0
    qkv_bias: bool = False
    output_bias: bool = False
    qk_norm: bool = False
    mlp_bias: bool = False
    tie_embeddings: bool = False

    def __post_init__(self) -> None:
        wrong = [
            f"{name} is {shown(getattr(self, name))}, not a whole number from 1 to {most}"
            for name, most in LARGEST.items()
            if not is_size(getattr(self, name), 1, most)
        ]
        if not wrong:
            wrong += self._misfits()
        if is_positive_float32(self.norm_eps):
            object.__setattr__(self, "norm_eps", float(self.norm_eps))
        else:
            wrong.append(f"norm_eps is {shown(self.norm_eps)}, not a number above 0 that float32 holds")
        if not isinstance(self.family, str):
            wrong.append(f"family is {shown(self.family)}, not a name")
        if self.activation not in get_args(Activation):
            wrong.append(f"activation {shown(self.activation)} is not one of {', '.join(get_args(Activation))}")
        if self.norm not in get_args(Norm):
            wrong.append(f"norm {shown(self.norm)} is not one of {', '.join(get_args(Norm))}")
        if self.sliding_window is not None and not is_size(self.sliding_window, 1, 2**31 - 1):
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
        wrong += self._rotary_problems()
        for name, least in (("gain_offset", 0.0), ("embedding_scale", SMALLEST_FLOAT32)):
            value = getattr(self, name)
            if is_number(value) and least <= value <= LARGEST_FLOAT32:
                object.__setattr__(self, name, float(value))
            else:
                wrong.append(f"{name} is {shown(value)}, not a number from {least:g} on that float32 holds")
        if wrong:
            raise LandedError(f"This model configuration cannot be: {listed(wrong)}.")

    def _misfits(self) -> list[str]:
        """Sizes that are sound by themselves and do not fit each other."""
        wrong = []
        if self.n_heads % self.n_kv_heads:
            wrong.append(f"n_heads {self.n_heads} is not a multiple of n_kv_heads {self.n_kv_heads}")
        heads = 2 * (self.n_heads + self.n_kv_heads) * self.head_dim
        tables = self.vocab_size + (self.max_positions if self.learned_positions is True else 0)
        if self.d_model * (tables + self.n_layers * (heads + 3 * self.d_ff)) > _MOST_PARAMETERS:
            wrong.append(f"these sizes make a model of more than 2**{_MOST_PARAMETERS.bit_length() - 1} parameters")
        return wrong

    def _rotary_problems(self) -> list[str]:
        if self.rotary_dim is not None and self.rotary_dim == self.head_dim:
            object.__setattr__(self, "rotary_dim", None)  # one form for each model, here and below
        if not self.windowed_layers:
            if self.local_rope is not None and self.sliding_window is not None:
                object.__setattr__(self, "rope", self.local_rope)
            object.__setattr__(self, "local_rope", None)
        elif self.local_rope == self.rope:
            object.__setattr__(self, "local_rope", None)
        wrong = []
        for name in ("rope", "local_rope"):
            rope = getattr(self, name)
            if isinstance(rope, RopeConfig):
                wrong += rope.problems()
            elif name == "rope" or rope is not None:
                wrong.append(f"{name} is {shown(rope)}, not a RopeConfig")
        most = self.head_dim if is_size(self.head_dim, 1, LARGEST["head_dim"]) else LARGEST["head_dim"]
        if self.rotary_dim is not None and not is_size(self.rotary_dim, 2, most):
            wrong.append(f"rotary_dim is {shown(self.rotary_dim)}, not a whole number from 2 to {most} or None")
        if wrong:
            return wrong
        if self.rotary_layers and not any(self.rotary_layers):  # no layer rotates: nothing of it is read
            for name, value in (("rope", DEFAULT_ROPE), ("local_rope", None), ("rotary_dim", None)):
                object.__setattr__(self, name, value)
            return []
        name = "head_dim" if self.rotary_dim is None else "rotary_dim"
        if self.rotated % 2:
            wrong.append(f"{name} {self.rotated} is odd, and rotary embedding turns pairs of coordinates")
        if self.rotated == 2 and "dynamic" in (self.rope.kind, getattr(self.local_rope, "kind", None)):
            wrong.append(f"dynamic rotary scaling divides by {name} - 2, which is 0")
        return wrong

    @property
    def rotated(self) -> int:
        """Coordinates of each head that are rotated."""
        return self.rotary_dim or self.head_dim

    @property
    def group_size(self) -> int:
        """Query heads that share one key and value head."""
        return self.n_heads // self.n_kv_heads

    @property
    def kinds(self) -> tuple["LayerKind", ...]:
        """Each layer's kind.

        >>> sizes = dict(vocab_size=2, d_model=2, n_layers=2, n_heads=1, n_kv_heads=1, head_dim=2, d_ff=2)
        >>> ModelConfig(**sizes, rotary_layers=(True, False)).kinds
        (LayerKind(window=None, rope=0), LayerKind(window=None, rope=None))
        """
        numbers = {rope: number for number, rope in enumerate(self.ropes)}
        return tuple(
            LayerKind(window, None if rope is None else numbers[rope])
            for window, rope in zip(self.windows, self._layer_ropes(), strict=True)
        )

    @property
    def ropes(self) -> tuple[RopeConfig, ...]:
        """The rotary embeddings that layers have, each once."""
        return tuple(dict.fromkeys(rope for rope in self._layer_ropes() if rope is not None))

    def _layer_ropes(self) -> list[RopeConfig | None]:
        rotary = self.rotary_layers or (True,) * self.n_layers
        local = self.local_rope or self.rope
        return [
            (self.rope if window is None else local) if turned else None
            for window, turned in zip(self.windows, rotary, strict=True)
        ]

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
            local = None if values["local_rope"] is None else RopeConfig(**values["local_rope"])
            layers = {name: tuple(values[name]) for name in ("windowed_layers", "rotary_layers")}  # JSON has lists
            config = cls(**{**values, **layers, "rope": rope, "local_rope": local})
        except (TypeError, KeyError) as error:
            raise LandedError(f"These are not the fields of a model configuration: {first_line(error)}.") from error
        return config
