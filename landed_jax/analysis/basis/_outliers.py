"""The few coordinates that dwarf all others, looked at apart."""

from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from landed_jax.analysis.basis._coordinates import Coordinates
from landed_jax.analysis.reads._questions import QuestionLike, resolve
from landed_jax.analysis.reads._read import heard_at, landed_stream_at, normed_at
from landed_jax.analysis.registry import analysis
from landed_jax.errors import LandedError
from landed_jax.results.result import Result, result
from landed_jax.trace import Trace


@result
class Outliers(Result):
    """Outlier coordinates at each position, and the contributions with and without them.

    Attributes:
        outlying: which coordinates are outliers.
        size: ``|x_k| / median_k |x|``, what was compared with the multiple (infinite where the median is 0).
        contribution: what the outliers add to the value together, in its units.
        everything: all contributions; its counts are the counts with the outliers.
        without: the contributions of all others, and the value less the outliers' part: its counts are the counts
            without the outliers.
    """

    outlying: Bool[Array, "batch position d_model"]
    size: Float[Array, "batch position d_model"]
    contribution: Float[Array, "batch position"]
    everything: Coordinates
    without: Coordinates

    @property
    def number(self) -> Int[Array, "batch position"]:
        """How many outliers there are at each position."""
        return jnp.sum(self.outlying, axis=-1)


@analysis(bucketed=True)
def outliers(
    trace: Trace,
    question: QuestionLike = None,
    *,
    multiple: float = 20.0,
    stream: Literal["residual", "landed"] = "residual",
) -> Outliers:
    """Coordinates with ``|x_k| > multiple · median_k |x|`` at their position, and what they contribute to a read.

    By default x is the residual stream as the read's norm hears it (LayerNorm without its mean): there the outliers of
    trained models are known, and γ is often smallest just where they are, so that the landed stream may hide them. With
    ``stream="landed"`` x is what the norm puts out, and the outliers are those that the reader itself meets.

    Args:
        question: as for `attribute`.
        multiple: how many times the median makes an outlier; above 0. There is no agreed figure: massive activations
            are some thousand times the median, outlier features begin far below.

    Raises:
        LandedError: for a multiple or a stream that cannot be, a stream that was not recorded, and what `attribute`
            refuses.

    References:
        Sun et al., Massive Activations in Large Language Models, 2024; Kovaleva et al., BERT Busters: Outlier
        Dimensions that Disrupt Transformers, 2021.

    >>> import jax
    >>> from landed_jax import ModelConfig, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> params = init_params(config, jax.random.key(0))
    >>> _, trace = forward(params, jnp.array([[1, 5, 7]]), config)
    >>> found = outliers(trace.bind(params), 3)
    >>> found.number, found.without.count(0.9).shape
    (Array([[0, 0, 0]], dtype=int32), (1, 3))
    """
    if not multiple > 0:
        raise LandedError(f"An outlier exceeds some multiple of the median above 0, not {multiple}.")
    if stream not in ("residual", "landed"):
        raise LandedError(f"stream={stream!r}: outliers are looked for in the 'residual' or the 'landed' stream.")
    read = resolve(trace, question)
    size = jnp.abs((heard_at if stream == "residual" else normed_at)(trace, read.site))
    median = jnp.median(size, axis=-1, keepdims=True)
    outlying = size > multiple * median
    everything = Coordinates(landed_stream_at(trace, read.site) * read.vector, read.value - read.offset)
    contribution = jnp.sum(jnp.where(outlying, everything.contributions, 0), axis=-1)
    without = Coordinates(jnp.where(outlying, 0, everything.contributions), everything.value - contribution)
    times = jnp.where(median > 0, size / jnp.where(median > 0, median, 1), jnp.where(size > 0, jnp.inf, 0))
    return Outliers(outlying, times, contribution, everything, without)
