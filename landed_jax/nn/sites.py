"""Every named place in the forward pass, and the axes of the value that passes it."""

from collections.abc import Iterable
from enum import StrEnum

from landed_jax.errors import LandedError


class Site(StrEnum):
    """A place where a value can be recorded or edited.

    Layer sites come back with a leading layer axis. ``AXES`` names the axes of each.
    """

    EMBEDDING = "embedding"  # the token embedding, the first write
    ATTN_RESIDUAL = "attn_residual"  # the stream that the attention norm reads
    ATTN_SIGMA = "attn_sigma"
    ATTN_GAMMA = "attn_gamma"
    ATTN_NORMED = "attn_normed"  # what attention hears
    QUERY = "query"  # after rotary embedding
    KEY = "key"  # after rotary embedding
    VALUE = "value"
    PATTERN = "pattern"  # attention probabilities
    HEAD = "head"  # z_h; the head's write is z_h W_O[h]
    ATTN_WRITE = "attn_write"  # all heads and the output bias together
    MLP_RESIDUAL = "mlp_residual"
    MLP_SIGMA = "mlp_sigma"
    MLP_GAMMA = "mlp_gamma"
    MLP_NORMED = "mlp_normed"
    GATE = "gate"  # pre-activation
    UP = "up"
    NEURON = "neuron"  # a_j = act(gate_j) up_j; the neuron's write is a_j W_down[j]
    MLP_WRITE = "mlp_write"
    FINAL_RESIDUAL = "final_residual"
    FINAL_SIGMA = "final_sigma"
    FINAL_GAMMA = "final_gamma"
    FINAL_NORMED = "final_normed"  # what the unembedding hears


_STREAM = ("batch", "position", "d_model")
_KEYS = ("batch", "source", "kv_head", "head_dim")

AXES: dict[Site, tuple[str, ...]] = {
    Site.EMBEDDING: _STREAM,
    Site.QUERY: ("batch", "position", "head", "head_dim"),
    Site.KEY: _KEYS,
    Site.VALUE: _KEYS,
    Site.PATTERN: ("batch", "head", "position", "source"),
    Site.HEAD: ("batch", "position", "head", "head_dim"),
    Site.ATTN_WRITE: _STREAM,
    Site.GATE: ("batch", "position", "neuron"),
    Site.UP: ("batch", "position", "neuron"),
    Site.NEURON: ("batch", "position", "neuron"),
    Site.MLP_WRITE: _STREAM,
    **{Site(f"{norm}_residual"): _STREAM for norm in ("attn", "mlp", "final")},
    **{Site(f"{norm}_sigma"): ("batch", "position") for norm in ("attn", "mlp", "final")},
    **{Site(f"{norm}_gamma"): ("d_model",) for norm in ("attn", "mlp", "final")},
    **{Site(f"{norm}_normed"): _STREAM for norm in ("attn", "mlp", "final")},
}

OUTSIDE_LAYERS = frozenset({Site.EMBEDDING, *(s for s in Site if s.value.startswith("final_"))})

SCALES = frozenset(s for s in Site if s.value.endswith(("_sigma", "_gamma")))
RESIDUALS = frozenset(s for s in Site if s.value.endswith("_residual"))
NORMED = frozenset(s for s in Site if s.value.endswith("_normed"))
SOURCES = frozenset({Site.PATTERN, Site.VALUE})
WRITES = SCALES | {Site.EMBEDDING, Site.HEAD, Site.NEURON, Site.FINAL_RESIDUAL, Site.FINAL_NORMED}
GROUPS = {"WRITES": WRITES, "RESIDUALS": RESIDUALS, "NORMED": NORMED, "SOURCES": SOURCES}


def as_site(site: object) -> Site:
    """A `Site`, from itself or its name.

    Raises:
        LandedError: for what is none.

    >>> as_site("head")
    <Site.HEAD: 'head'>
    """
    try:
        return Site(site)
    except ValueError:
        names = ", ".join(s.value for s in Site)
        raise LandedError(f"{site!r} is not a site; these are: {names}.") from None


def as_sites(record: object) -> frozenset[Site]:
    """A set of sites, from any collection of them.

    Raises:
        LandedError: for anything else.

    >>> sorted(as_sites([Site.NEURON, "head"]))
    [<Site.HEAD: 'head'>, <Site.NEURON: 'neuron'>]
    """
    if isinstance(record, str) or not isinstance(record, Iterable):
        raise LandedError(f"record= takes a set of sites, such as WRITES or {{Site.HEAD}}, not {record!r}.")
    return frozenset(map(as_site, record))


def axes_of(site: Site) -> tuple[str, ...]:
    """The axes of a recorded value, the layer axis included."""
    return AXES[site] if site in OUTSIDE_LAYERS else ("layer", *AXES[site])
