"""Landed writes: what each head and neuron of a language model writes, as the model hears it."""

from landed_jax.analysis.amplification import Amplification, amplification
from landed_jax.analysis.attribution import attribute
from landed_jax.analysis.closure import closure_error
from landed_jax.analysis.coordinates import Coordinates, coordinates
from landed_jax.analysis.landing import land
from landed_jax.analysis.per_write import PerWrite
from landed_jax.analysis.reads import Read, read_head, read_logit, read_neuron, read_vector
from landed_jax.analysis.result import Attribution
from landed_jax.analysis.sources import attribute_by_source
from landed_jax.analysis.table import WriteRow, WriteTable
from landed_jax.analysis.writes import Write, write_vector
from landed_jax.config import ModelConfig, RopeConfig
from landed_jax.errors import LandedError
from landed_jax.forward import forward
from landed_jax.memory import trace_bytes
from landed_jax.model import Model, convert, load
from landed_jax.nn.sites import NORMED, RESIDUALS, SOURCES, WRITES, Site
from landed_jax.parameters import count_parameters, init_params
from landed_jax.tokens import Tokens
from landed_jax.trace import Trace, read_sites

__version__ = "0.1.0"

__all__ = [
    "NORMED",
    "RESIDUALS",
    "SOURCES",
    "WRITES",
    "Amplification",
    "Attribution",
    "Coordinates",
    "LandedError",
    "Model",
    "ModelConfig",
    "PerWrite",
    "Read",
    "RopeConfig",
    "Site",
    "Tokens",
    "Trace",
    "Write",
    "WriteRow",
    "WriteTable",
    "amplification",
    "attribute",
    "attribute_by_source",
    "closure_error",
    "convert",
    "coordinates",
    "count_parameters",
    "forward",
    "init_params",
    "land",
    "load",
    "read_head",
    "read_logit",
    "read_neuron",
    "read_sites",
    "read_vector",
    "trace_bytes",
    "write_vector",
]
