"""Rotary position embedding's settings, as one frozen, hashable value."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

from landed_jax.errors import shown
from landed_jax.nn.values import is_number, is_size

RopeKind = Literal["default", "linear", "dynamic", "llama3", "yarn", "longrope"]

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
_LISTS = ("short_factors", "long_factors")


@dataclass(frozen=True)
class RopeConfig:
    """Rotary position embedding: the base and how the frequencies are scaled.

    Attributes:
        original_max_positions: the context length before scaling (llama3, yarn and longrope).
        attention_factor: a factor of cos and sin (yarn and longrope).
        short_factors, long_factors: for each rotated pair, what its frequency is divided by, in prompts of up to
            `original_max_positions` tokens and in longer ones (longrope).
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
    short_factors: tuple[float, ...] = ()
    long_factors: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name, (least, most) in _ROPE_BOUNDS.items():
            value = getattr(self, name)
            if is_number(value) and least <= value <= most:
                object.__setattr__(self, name, float(value))  # JAX takes no whole number beyond 63 bits
        for name in _LISTS:
            if self._is_list_of_factors(name):
                object.__setattr__(self, name, tuple(map(float, getattr(self, name))))

    def _is_list_of_factors(self, name: str) -> bool:
        values, (least, most) = getattr(self, name), _ROPE_BOUNDS["factor"]
        return isinstance(values, tuple) and all(is_number(value) and least <= value <= most for value in values)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "RopeConfig":
        """The inverse of `dataclasses.asdict`, also after JSON, which has lists for tuples."""
        return cls(**{**values, **{name: tuple(values[name]) for name in _LISTS}})

    def problems(self) -> list[str]:
        """Every reason why these settings cannot be."""
        wrong = []
        for name, (least, most) in _ROPE_BOUNDS.items():
            value = getattr(self, name)
            if not is_number(value) or not least <= value <= most:
                wrong.append(f"the rotary {name} is {shown(value)}, not a number from {least:g} to {most:g}")
        if self.kind not in get_args(RopeKind):
            wrong.append(f"rope kind {shown(self.kind)} is not one of {', '.join(get_args(RopeKind))}")
        for name in _LISTS:
            if not self._is_list_of_factors(name):
                wrong.append(f"the rotary {name} are not numbers from {_ROPE_BOUNDS['factor'][0]:g} on")
            elif bool(getattr(self, name)) != (self.kind == "longrope"):
                wrong.append(f"rope kind {shown(self.kind)} with {len(getattr(self, name))} {name}")
        if len(self.short_factors) != len(self.long_factors):
            wrong.append("the rotary short_factors and long_factors are not as many as each other")
        if type(self.truncate) is not bool:
            wrong.append(f"the rotary truncate is {shown(self.truncate)}, not true or false")
        if not is_size(self.original_max_positions, 0, 2**31 - 1):
            original = shown(self.original_max_positions)
            wrong.append(f"original_max_positions is {original}, not a whole number from 0 to {2**31 - 1}")
        elif self.kind in ("llama3", "yarn", "longrope") and self.original_max_positions < 1:
            wrong.append(f"rope kind {self.kind} needs original_max_positions")
        if not wrong and self.kind == "llama3" and self.high_freq_factor <= self.low_freq_factor:
            wrong.append(
                f"high_freq_factor {self.high_freq_factor} is not above low_freq_factor {self.low_freq_factor}"
            )
        if not wrong and self.kind == "yarn" and self.theta == 1:
            wrong.append("yarn divides by the logarithm of theta, which is 0 where theta is 1")
        return wrong


DEFAULT_ROPE = RopeConfig()
