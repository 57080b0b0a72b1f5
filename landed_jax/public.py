"""The public names, each from the file it lives in."""

from landed_jax.analysis.attribution.attribute import attribute
from landed_jax.analysis.attribution.faithfulness import Faithfulness, faithfulness
from landed_jax.analysis.attribution.groups import GroupEffect, group_effect, layer_group, write_group
from landed_jax.analysis.attribution.log_probability import LogProbability, attribute_log_probability
from landed_jax.analysis.attribution.logit_lens import LogitLens, lens_top_tokens, logit_lens
from landed_jax.analysis.attribution.operations import Operations, operations
from landed_jax.analysis.attribution.result import Attribution
from landed_jax.analysis.attribution.sources import attribute_by_source
from landed_jax.analysis.attribution.table import WriteRow, WriteTable
from landed_jax.analysis.attribution.token_contributions import TokenContributions, token_contributions
from landed_jax.analysis.attribution.volume import Volume, WeakDirections, sigma_shares, volume, weak_directions
from landed_jax.analysis.basis.coordinate_check import CoordinateCheck, check_coordinates
from landed_jax.analysis.basis.coordinates import Coordinates, coordinates
from landed_jax.analysis.basis.outliers import Outliers, outliers
from landed_jax.analysis.basis.rotations import RotatedCounts, rotated_counts
from landed_jax.analysis.landing.closure import closure_error
from landed_jax.analysis.landing.land import land
from landed_jax.analysis.landing.landing_matrix import LandingMatrix, landing_matrix
from landed_jax.analysis.reads.read import Read, read_head, read_logit, read_neuron, read_vector
from landed_jax.analysis.scale.amplification import Amplification, amplification
from landed_jax.analysis.scale.amplification_statistics import (
    AmplificationStatistics,
    amplification_by_coordinate,
    amplification_statistics,
)
from landed_jax.analysis.scale.growth import ResidualGrowth, residual_growth
from landed_jax.analysis.scale.position_classes import POSITION_CLASSES, delimiter_ids, position_classes
from landed_jax.analysis.scale.write_amplification import write_amplification
from landed_jax.analysis.streaming.attribute_streaming import StreamedAttribution, attribute_streaming
from landed_jax.analysis.reduce.reductions import (
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
from landed_jax.analysis.writes.projections import output_norms
from landed_jax.analysis.writes.write import Write, write_vector
from landed_jax.errors import LandedError
from landed_jax.forward_pass import forward
from landed_jax.memory.estimates import attribution_bytes, choose_passes, trace_bytes
from landed_jax.memory.freed import keep_freed_memory
from landed_jax.model import Model, convert, load
from landed_jax.nn.config import ModelConfig, RopeConfig
from landed_jax.nn.hook_points import NORMED, RESIDUALS, SOURCES, WRITES, HookPoint
from landed_jax.nn.layer_writes import LayerWrites
from landed_jax.nn.output_norms import OutputNorms
from landed_jax.nn.parameters import count_parameters, init_params
from landed_jax.nn.per_write import PerWrite
from landed_jax.nn.stream_order import site_names
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
    "HookPoint",
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
    "PerWrite",
    "Read",
    "Reduction",
    "ResidualGrowth",
    "RopeConfig",
    "RotatedCounts",
    "Shares",
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
    "site_names",
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
