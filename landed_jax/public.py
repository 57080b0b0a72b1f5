"""The public names, each from the file it lives in."""

from landed_jax.analysis.amplification import Amplification, amplification
from landed_jax.analysis.amplification_statistics import (
    AmplificationStatistics,
    amplification_by_coordinate,
    amplification_statistics,
)
from landed_jax.analysis.attribution import attribute
from landed_jax.analysis.closure import closure_error
from landed_jax.analysis.coordinate_check import CoordinateCheck, check_coordinates
from landed_jax.analysis.coordinates import Coordinates, coordinates
from landed_jax.analysis.faithfulness import Faithfulness, faithfulness
from landed_jax.analysis.groups import GroupEffect, group_effect, layer_group, write_group
from landed_jax.analysis.growth import ResidualGrowth, residual_growth
from landed_jax.analysis.landing import land
from landed_jax.analysis.landing_matrix import LandingMatrix, landing_matrix
from landed_jax.analysis.lenses import LogitLens, lens_top_tokens, logit_lens
from landed_jax.analysis.logprob import LogProbability, attribute_log_probability
from landed_jax.analysis.operations import Operations, operations
from landed_jax.analysis.outliers import Outliers, outliers
from landed_jax.analysis.per_write import PerWrite, PerWriteInLayers
from landed_jax.analysis.position_classes import POSITION_CLASSES, delimiter_ids, position_classes
from landed_jax.analysis.projections import output_norms
from landed_jax.analysis.reads import Read, read_head, read_logit, read_neuron, read_vector
from landed_jax.analysis.reductions import (
    Histogram,
    LayerShares,
    LayerSums,
    Reduction,
    Shares,
    TopWrites,
    everything,
    histogram,
    layer_sums,
    top_per_position,
    top_writes,
)
from landed_jax.analysis.result import Attribution
from landed_jax.analysis.rotations import RotatedCounts, rotated_counts
from landed_jax.analysis.sources import attribute_by_source
from landed_jax.analysis.streaming import StreamedAttribution, attribute_streaming
from landed_jax.analysis.table import WriteRow, WriteTable
from landed_jax.analysis.token_contributions import TokenContributions, token_contributions
from landed_jax.analysis.volume import Volume, WeakDirections, sigma_shares, volume, weak_directions
from landed_jax.analysis.write_amplification import write_amplification
from landed_jax.analysis.writes import Write, write_vector
from landed_jax.config import ModelConfig, RopeConfig
from landed_jax.errors import LandedError
from landed_jax.forward import forward
from landed_jax.memory.estimates import attribution_bytes, choose_passes, trace_bytes
from landed_jax.memory.freed import keep_freed_memory
from landed_jax.model import Model, convert, load
from landed_jax.nn.layer_writes import LayerWrites, PerLayerWrite
from landed_jax.nn.output_norms import OutputNorms
from landed_jax.nn.sites import NORMED, RESIDUALS, SOURCES, WRITES, Site
from landed_jax.nn.stream_order import read_sites
from landed_jax.parameters import count_parameters, init_params
from landed_jax.results.dataset import to_xarray
from landed_jax.results.files import load_result, save_result
from landed_jax.results.table import to_table
from landed_jax.tokens import Tokens
from landed_jax.trace import Trace

__all__ = [
    "NORMED",
    "POSITION_CLASSES",
    "RESIDUALS",
    "SOURCES",
    "WRITES",
    "Amplification",
    "AmplificationStatistics",
    "Attribution",
    "CoordinateCheck",
    "Coordinates",
    "Faithfulness",
    "GroupEffect",
    "Histogram",
    "LandedError",
    "LandingMatrix",
    "LayerShares",
    "LayerSums",
    "LayerWrites",
    "LogProbability",
    "LogitLens",
    "Model",
    "ModelConfig",
    "Operations",
    "Outliers",
    "OutputNorms",
    "PerLayerWrite",
    "PerWrite",
    "PerWriteInLayers",
    "Read",
    "Reduction",
    "ResidualGrowth",
    "RopeConfig",
    "RotatedCounts",
    "Shares",
    "Site",
    "StreamedAttribution",
    "TokenContributions",
    "Tokens",
    "TopWrites",
    "Trace",
    "Volume",
    "WeakDirections",
    "Write",
    "WriteRow",
    "WriteTable",
    "amplification",
    "amplification_by_coordinate",
    "amplification_statistics",
    "attribute",
    "attribute_by_source",
    "attribute_log_probability",
    "attribute_streaming",
    "attribution_bytes",
    "check_coordinates",
    "choose_passes",
    "closure_error",
    "convert",
    "coordinates",
    "count_parameters",
    "delimiter_ids",
    "everything",
    "faithfulness",
    "forward",
    "group_effect",
    "histogram",
    "init_params",
    "keep_freed_memory",
    "land",
    "landing_matrix",
    "layer_group",
    "layer_sums",
    "lens_top_tokens",
    "load",
    "load_result",
    "logit_lens",
    "operations",
    "outliers",
    "output_norms",
    "position_classes",
    "read_head",
    "read_logit",
    "read_neuron",
    "read_sites",
    "read_vector",
    "residual_growth",
    "rotated_counts",
    "save_result",
    "sigma_shares",
    "to_table",
    "to_xarray",
    "token_contributions",
    "top_per_position",
    "top_writes",
    "trace_bytes",
    "volume",
    "weak_directions",
    "write_amplification",
    "write_group",
    "write_vector",
]
