"""The mean landed contribution of a layer's heads: a toy."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from landed_jax.analysis.attribution._attribute import attribute
from landed_jax.analysis.reads._questions import QuestionLike
from landed_jax.analysis.registry import analysis
from landed_jax.results.result import Result, result
from landed_jax.trace import Trace


@result
class MeanHead(Result):
    """Each layer's mean over its heads, in units of the value."""

    mean: Float[Array, "layer batch position"]


@analysis()
def mean_head(trace: Trace, question: QuestionLike = None) -> MeanHead:
    """The mean landed contribution of each layer's heads."""
    return MeanHead(jnp.mean(attribute(trace, question, effects=False).landed.heads, axis=-1))
