"""Every named place in the forward pass, and the axes of the value that passes it."""

from collections.abc import Iterable
from enum import StrEnum

from landed_jax.errors import LandedError
from landed_jax.nn.config import ModelConfig


class HookPoint(StrEnum):
    """A place where a value can be recorded or edited.

    Layer sites come back with a leading layer axis. ``AXES`` names the axes of each.
    """

    EMBEDDING = "embedding"  # the token embedding, the first write
    POSITION_EMBEDDING = "position_embedding"  # a learned position's, in models that have them
    ATTN_RESIDUAL = "attn_residual"  # the stream before attention; an edit goes on down the stream
    ATTN_NORM_INPUT = "attn_norm_input"  # the same as the attention norm reads it; an edit changes this one read
    ATTN_SIGMA = "attn_sigma"
    ATTN_GAMMA = "attn_gamma"
    ATTN_NORMED = "attn_normed"  # what attention hears
    QUERY = "query"  # after rotary embedding
    KEY = "key"  # after rotary embedding
    VALUE = "value"
    PATTERN = "pattern"  # attention probabilities
    HEAD = "head"  # z_h; the head's write is z_h W_O[h]
    ATTN_OUT = "attn_out"  # what attention puts out: all heads and the output bias, before an output norm
    ATTN_OUT_SIGMA = "attn_out_sigma"  # σ′ and γ′ of the norm behind attention, in a model with output norms
    ATTN_OUT_GAMMA = "attn_out_gamma"
    ATTN_WRITE = "attn_write"  # what attention adds to the stream
    MLP_RESIDUAL = "mlp_residual"  # the stream between attention and the MLP; in a parallel block that before both
    MLP_NORM_INPUT = "mlp_norm_input"
    MLP_SIGMA = "mlp_sigma"
    MLP_GAMMA = "mlp_gamma"
    MLP_NORMED = "mlp_normed"
    ROUTER = "router"  # in models with experts: the logits by which a position's experts are chosen
    EXPERT = "expert"  # the chosen ones' numbers, that with the largest logit first
    EXPERT_WEIGHT = "expert_weight"  # p_e of the chosen ones
    GATE = "gate"  # pre-activation; of experts those of the first chosen one, then of the next
    UP = "up"  # in models with a gate
    NEURON = "neuron"  # a_j = act(gate_j) up_j, or act(gate_j) without a gate; the neuron's write is a_j W_down[j].
    # Of experts it is p_e a_j: what W_down[e][j] is multiplied with
    MLP_OUT = "mlp_out"
    MLP_OUT_SIGMA = "mlp_out_sigma"
    MLP_OUT_GAMMA = "mlp_out_gamma"
    MLP_WRITE = "mlp_write"
    FINAL_RESIDUAL = "final_residual"  # the stream after the last layer
    FINAL_NORM_INPUT = "final_norm_input"
    FINAL_SIGMA = "final_sigma"
    FINAL_GAMMA = "final_gamma"
    FINAL_NORMED = "final_normed"  # what the unembedding hears


_STREAM = ("batch", "position", "d_model")
_KEYS = ("batch", "source", "kv_head", "head_dim")
_NORMS = ("attn", "mlp", "final", "attn_out", "mlp_out")

AXES: dict[HookPoint, tuple[str, ...]] = {
    HookPoint.EMBEDDING: _STREAM,
    HookPoint.POSITION_EMBEDDING: _STREAM,
    HookPoint.QUERY: ("batch", "position", "head", "head_dim"),
    HookPoint.KEY: _KEYS,
    HookPoint.VALUE: _KEYS,
    HookPoint.PATTERN: ("batch", "head", "position", "source"),
    HookPoint.HEAD: ("batch", "position", "head", "head_dim"),
    HookPoint.ATTN_OUT: _STREAM,
    HookPoint.MLP_OUT: _STREAM,
    HookPoint.ATTN_WRITE: _STREAM,
    HookPoint.ROUTER: ("batch", "position", "expert"),
    HookPoint.EXPERT: ("batch", "position", "slot"),
    HookPoint.EXPERT_WEIGHT: ("batch", "position", "slot"),
    HookPoint.GATE: ("batch", "position", "neuron"),
    HookPoint.UP: ("batch", "position", "neuron"),
    HookPoint.NEURON: ("batch", "position", "neuron"),
    HookPoint.MLP_WRITE: _STREAM,
    **{HookPoint(f"{norm}_residual"): _STREAM for norm in ("attn", "mlp", "final")},
    **{HookPoint(f"{norm}_norm_input"): _STREAM for norm in ("attn", "mlp", "final")},
    **{HookPoint(f"{norm}_sigma"): ("batch", "position") for norm in _NORMS},
    **{HookPoint(f"{norm}_gamma"): ("d_model",) for norm in _NORMS},
    **{HookPoint(f"{norm}_normed"): _STREAM for norm in ("attn", "mlp", "final")},
}

EMBEDDINGS = frozenset({HookPoint.EMBEDDING, HookPoint.POSITION_EMBEDDING})
OUTSIDE_LAYERS = EMBEDDINGS | {s for s in HookPoint if s.value.startswith("final_")}

SCALES = frozenset(s for s in HookPoint if s.value.endswith(("_sigma", "_gamma")))
OUTPUT_SCALES = frozenset(s for s in SCALES if "_out_" in s.value)
RESIDUALS = frozenset(s for s in HookPoint if s.value.endswith("_residual"))
"""The stream before every norm: for reads inside the model, lenses and σ shares at every site."""
NORMED = frozenset(s for s in HookPoint if s.value.endswith("_normed"))
"""What every norm puts out: for the closure error at every site."""
SOURCES = frozenset({HookPoint.PATTERN, HookPoint.VALUE})
"""Attention patterns and values: for contributions by source token."""
ROUTING = frozenset({HookPoint.ROUTER, HookPoint.EXPERT, HookPoint.EXPERT_WEIGHT})
"""The router's logits, and which experts each position chose with which weights."""
WRITES = (SCALES | EMBEDDINGS | ROUTING) - {HookPoint.ROUTER} | {
    HookPoint.HEAD,
    HookPoint.NEURON,
    HookPoint.FINAL_RESIDUAL,
    HookPoint.FINAL_NORMED,
}
"""The factors of every write, σ and γ of every norm, and both sides of the final one: what is recorded by default."""
GROUPS = {"WRITES": WRITES, "RESIDUALS": RESIDUALS, "NORMED": NORMED, "SOURCES": SOURCES, "ROUTING": ROUTING}


def as_site(site: object) -> HookPoint:
    """A `HookPoint`, from itself or its name.

    Raises:
        LandedError: for what is none.

    >>> as_site("head")
    <HookPoint.HEAD: 'head'>
    """
    try:
        return HookPoint(site)
    except ValueError:
        names = ", ".join(s.value for s in HookPoint)
        raise LandedError(f"{site!r} is not a site; these are: {names}.") from None


def as_sites(record: object) -> frozenset[HookPoint]:
    """A set of sites, from any collection of them.

    Raises:
        LandedError: for anything else.

    >>> sorted(as_sites([HookPoint.NEURON, "head"]))
    [<HookPoint.HEAD: 'head'>, <HookPoint.NEURON: 'neuron'>]
    """
    if isinstance(record, str) or not isinstance(record, Iterable):
        raise LandedError(f"record= takes a set of sites, such as WRITES or {{HookPoint.HEAD}}, not {record!r}.")
    return frozenset(map(as_site, record))


def absent(config: ModelConfig) -> dict[HookPoint, str]:
    """The hook points that a model does not have, each with the reason."""
    reasons = {}
    if not config.gated_mlp:
        reasons[HookPoint.UP] = "its MLP has no up product, and GATE holds each neuron's one pre-activation"
    if not config.learned_positions:
        reasons[HookPoint.POSITION_EMBEDDING] = "it learned no positions"
    if not config.n_experts:
        reasons |= dict.fromkeys(ROUTING, "it has no experts")
    if not config.output_norms:
        reasons |= dict.fromkeys(OUTPUT_SCALES, "it has no output norms")
    return reasons


def has(config: ModelConfig, site: HookPoint) -> bool:
    """Whether a value of this name passes anywhere in a model.

    >>> sizes = dict(vocab_size=2, d_model=2, n_layers=1, n_heads=1, n_kv_heads=1, head_dim=2, d_ff=2)
    >>> has(ModelConfig(**sizes), HookPoint.ATTN_OUT_SIGMA)
    False
    """
    return site not in absent(config)


def present(record: Iterable[HookPoint], config: ModelConfig) -> frozenset[HookPoint]:
    """What is to be recorded, less those points of `GROUPS` that the model does not have.

    Raises:
        LandedError: for another point that it does not have.
    """
    wanted, without = frozenset(record), absent(config)
    for point in sorted(wanted.intersection(without)):
        if not any(point in group for group in GROUPS.values()):
            raise LandedError(f"This model has no {point.value} to record: {without[point]}.")
    return wanted.difference(without)


def axes_of(site: HookPoint) -> tuple[str, ...]:
    """The axes of a recorded value, the layer axis included."""
    return AXES[site] if site in OUTSIDE_LAYERS else ("layer", *AXES[site])
