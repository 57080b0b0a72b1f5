"""The architecture's facts, as one frozen, hashable value (a static argument of every jitted function)."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

from landed_jax.errors import LandedError, first_line, listed, shown
from landed_jax.nn.rope_config import DEFAULT_ROPE, RopeConfig
from landed_jax.nn.values import is_positive_float32, is_size

Norm = Literal["rms", "layer"]
Activation = Literal["silu", "gelu", "gelu_tanh", "gelu_fast", "quick_gelu", "relu", "relu2", "clamped_swiglu"]

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
_MOST_EXPERTS = 2**16
_FLAGS = (
    *("parallel_blocks", "gated_mlp", "learned_positions", "input_norms", "output_norms"),
    *(
        "rounded_embedding_scale",
        "qkv_bias",
        "output_bias",
        "mlp_bias",
        "tie_embeddings",
        "sinks",
        "router_bias",
        "router_normalised",
        "bfloat16_products",
    ),
)
_FACTORS = ("embedding_scale", "residual_scale", "logit_scale")
_OPTIONAL_FACTORS = ("attention_scale", "attention_cap", "logit_cap")
_MAY_BE_0 = ("gain_offset", "query_growth")


class LayerKind(NamedTuple):
    """In what the layers of one model may differ: each kind is compiled once.

    Attributes:
        window: how many positions a query sees, or None for all.
        rope: which of the model's `ropes` turns queries and keys, or None for none.
    """

    window: int | None = None
    rope: int | None = 0


class Scoring(NamedTuple):
    """How attention's scores are made.

    Attributes:
        scale: a factor of the products of queries and keys.
        cap: scores s become ``cap · tanh(s / cap)``; None for no cap.
        sinks: ``[head]``, one more score of each query, which nothing is mixed for; None for none.
        secant: whether the cap has the derivative of `GradientRules.curve`.
        bfloat16: as `ModelConfig.bfloat16_products`.
    """

    scale: float
    cap: float | None = None
    sinks: Any = None
    secant: bool = False
    bfloat16: bool = False


@dataclass(frozen=True)
class ModelConfig:
    """A pre-norm decoder as one stream with reads and writes, and the switches in which families differ.

    Attributes:
        d_ff: neurons per layer, the width of the MLP; in a model with experts that of each expert.
        activation: of ``clamped_swiglu`` (gpt-oss) gate and up product are cut to at most 7 in size, and 1 is added to
            the up product.
        norm: what reads the stream: ``rms``, or ``layer`` (Ba et al. 2016), which takes the mean off and adds a bias β.
        parallel_blocks: a layer's attention and MLP read the same stream (GPT-NeoX), and not one after the other.
        gated_mlp: whether a neuron's activation is multiplied with an up product; without, it has one product alone.
        learned_positions: whether a vector for the token's position is added to its embedding (GPT-2).
        qkv_bias: biases on the query, key and value products.
        output_bias: a bias on attention's output product.
        qk_norm: queries and keys pass an RMSNorm of their own before the rotary embedding: over each head's
            coordinates (``"head"``: Qwen 3, Gemma 3) or over those of all heads (``"width"``: OLMo 2).
        sinks: one more score for each head, learned, that takes its part of the softmax and adds nothing (gpt-oss).
        mlp_bias: biases on the gate, up and down products, or, without a gate, on both products; in a model with
            experts each expert's own.
        n_experts: MLPs of each layer, of which each position uses a few (Shazeer et al. 2017); 0 for one that all use.
        experts_per_token: how many of them a position uses: those with the largest router logits.
        router_bias: a bias on the router's logits.
        router_normalised: the used experts' weights are the softmax over their own logits (Mixtral), and not their part
            of the softmax over all experts' (OLMoE).
        sliding_window: how many positions a query sees, itself included; None for all.
        windowed_layers: for each layer, whether the window holds there; empty where it holds in all.
        rotary_layers: for each layer, whether queries and keys are rotated there; empty where they are in all.
        local_rope: the rotary embedding of the windowed layers, where it is another than that of the others (Gemma 3).
        query_growth: β in 1 + β log(1 + ⌊p / n⌋), by which queries at position p are multiplied, with n the length
            before rotary scaling (Ministral 3); 0 for none.
        rotary_dim: how many coordinates of each head are rotated, the first ones; None for all.
        gain_offset: what a norm adds to its weight to make γ: 1 in Gemma.
        embedding_scale: a factor of the embedding's write.
        rounded_embedding_scale: it is rounded to the weights' type where that is narrower than float32 (Gemma).
        input_norms: attention and MLP read the stream through a norm; without, they read the stream itself (OLMo 2).
        output_norms: what attention and the MLP put out passes an RMSNorm before it is added (Gemma 2, OLMo 2).
        residual_scale: a factor of all that attention and the MLP add to the stream (Granite).
        attention_scale: a factor of the products of queries and keys; None for ``head_dim ** -0.5``.
        attention_cap: scores s become ``cap · tanh(s / cap)`` (Gemma 2); None for no cap.
        logit_scale: a factor of the logits (Granite).
        logit_cap: logits l become ``cap · tanh(l / cap)`` (Gemma 2); None for no cap.
        max_positions: the length the checkpoint was made for. Dynamic rotary scaling starts beyond it; learned
            positions end there.
        bfloat16_products: how the model is computed, and no fact of its architecture: layers' products round both
            factors to bfloat16 and sum in the stream's type (`landed_jax.Model.with_precision`).

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
    query_growth: float = 0.0
    sliding_window: int | None = None
    windowed_layers: tuple[bool, ...] = ()
    rotary_layers: tuple[bool, ...] = ()
    gain_offset: float = 0.0
    embedding_scale: float = 1.0
    rounded_embedding_scale: bool = False
    qkv_bias: bool = False
    output_bias: bool = False
    qk_norm: Literal["head", "width"] | None = None
    mlp_bias: bool = False
    sinks: bool = False
    n_experts: int = 0
    experts_per_token: int = 0
    router_bias: bool = False
    router_normalised: bool = True
    tie_embeddings: bool = False
    input_norms: bool = True
    output_norms: bool = False
    residual_scale: float = 1.0
    attention_scale: float | None = None
    attention_cap: float | None = None
    logit_scale: float = 1.0
    logit_cap: float | None = None
    bfloat16_products: bool = False

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
        wrong += self._expert_problems()
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
        if self.norm == "layer" and (self.output_norms or not self.input_norms):
            wrong.append("norms of the kind layer go without output_norms, and every block reads through one")
        for name in (*_MAY_BE_0, *_FACTORS, *_OPTIONAL_FACTORS):
            value = getattr(self, name)
            if value is None and name in _OPTIONAL_FACTORS:
                continue
            if isinstance(value, float | int) and (is_positive_float32(value) or (name in _MAY_BE_0 and not value)):
                object.__setattr__(self, name, float(value))
            else:
                wrong.append(f"{name} is {shown(value)}, not a number above 0 that float32 holds")
        return wrong

    def _misfits(self) -> list[str]:
        """Sizes that are sound by themselves and do not fit each other."""
        wrong = []
        if self.n_heads % self.n_kv_heads:
            wrong.append(f"n_heads {self.n_heads} is not a multiple of n_kv_heads {self.n_kv_heads}")
        heads = 2 * (self.n_heads + self.n_kv_heads) * self.head_dim
        tables = self.vocab_size + (self.max_positions if self.learned_positions is True else 0)
        experts = self.n_experts if is_size(self.n_experts, 1, _MOST_EXPERTS) else 1
        if self.d_model * (tables + self.n_layers * (heads + 3 * self.d_ff * experts)) > _MOST_PARAMETERS:
            wrong.append(f"these sizes make a model of more than 2**{_MOST_PARAMETERS.bit_length() - 1} parameters")
        return wrong

    def _expert_problems(self) -> list[str]:
        if self.activation == "clamped_swiglu" and not self.gated_mlp:
            return ["clamped_swiglu needs a gated_mlp"]
        if not is_size(self.n_experts, 0, _MOST_EXPERTS):
            return [f"n_experts is {shown(self.n_experts)}, not a whole number from 0 to {_MOST_EXPERTS}"]
        if not is_size(self.experts_per_token, min(self.n_experts, 1), self.n_experts):
            return [f"experts_per_token is {shown(self.experts_per_token)}, not one to all of {self.n_experts} experts"]
        if not self.n_experts and (self.router_bias or not self.router_normalised):
            return ["a model without experts has no router"]
        return []

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
        no_length = "query_growth needs the rope's original_max_positions"
        if self.rotary_layers and not any(self.rotary_layers):  # no layer rotates: nothing of it is read
            for name, value in (("local_rope", None), ("rotary_dim", None)):
                object.__setattr__(self, name, value)
            original = self.rope.original_max_positions if self.query_growth else 0
            object.__setattr__(self, "rope", dataclasses.replace(DEFAULT_ROPE, original_max_positions=original))
            return [] if original or not self.query_growth else [no_length]
        for name in ("rope", "local_rope"):
            rope = getattr(self, name)
            if rope is not None and len(rope.short_factors) not in (0, self.rotated // 2):
                wrong.append(f"{name} has {len(rope.short_factors)} factors for {self.rotated // 2} rotated pairs")
        if self.query_growth and self.rope.original_max_positions < 1:
            wrong.append(no_length)
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
    def n_neurons(self) -> int:
        """Neurons that write at a position in each layer: of experts those that the position uses.

        >>> sizes = dict(vocab_size=2, d_model=2, n_layers=1, n_heads=1, n_kv_heads=1, head_dim=2, d_ff=3)
        >>> ModelConfig(**sizes).n_neurons, ModelConfig(**sizes, n_experts=8, experts_per_token=2).n_neurons
        (3, 6)
        """
        return self.d_ff * max(self.experts_per_token, 1)

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
        return Scoring(scale, self.attention_cap, bfloat16=self.bfloat16_products)

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
        """Plain values, for JSON; `from_dict` reads them back. Without `bfloat16_products` where they are not."""
        values = dataclasses.asdict(self)
        return (
            values if self.bfloat16_products else {name: values[name] for name in values if name != "bfloat16_products"}
        )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ModelConfig":
        """The inverse of `to_dict`.

        Raises:
            LandedError: for a field that is missing or unknown.
        """
        try:
            ropes = {name: values[name] and RopeConfig.from_dict(values[name]) for name in ("rope", "local_rope")}
            layers = {name: tuple(values[name]) for name in ("windowed_layers", "rotary_layers")}  # JSON has lists
            config = cls(**{**values, **layers, **ropes})
        except (TypeError, KeyError) as error:
            raise LandedError(f"These are not the fields of a model configuration: {first_line(error)}.") from error
        return config
