"""What a neuron's output weights alone say of it: how long they are, and how evenly they move all logits."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from landed_jax.analysis.attribution._volume import WeakDirections, weak_directions
from landed_jax.analysis.reads._read import gamma_at
from landed_jax.analysis.registry import analysis
from landed_jax.analysis.writes._projections import from_layers
from landed_jax.nn.layer_programs import by_layers
from landed_jax.nn.layer_writes import LayerWrites
from landed_jax.numerics import safe_root
from landed_jax.results.result import Result, result
from landed_jax.trace import Trace, bare


@result
class ConfidenceSignature(Result):
    """Each neuron's output column as the final norm hears it, ``w ⊙ γ``, up to σ.

    Axes of batch and position have size 1, but in a model with experts, where a position has the neurons of those that
    it chose.

    Attributes:
        norm: its length.
        logit_variance: the variance over the vocabulary of what a unit vector along it adds to the logits: small for
            a neuron that moves all of them alike. 0 for a column of zeros.
        weak: the part of its squared length in the directions that the unembedding hardly reads, from 0 to 1; a random
            column has ``count / d_model`` (`WeakDirections.count`).
    """

    norm: Float[Array, "layer #batch #position neuron"]
    logit_variance: Float[Array, "layer #batch #position neuron"]
    weak: Float[Array, "layer #batch #position neuron"]


@analysis()
def confidence_signature(trace: Trace, directions: WeakDirections | None = None) -> ConfidenceSignature:
    """The signature of entropy neurons in the weights: long columns that lie where the unembedding hardly reads.

    Args:
        trace: bound to its weights; of its numbers only γ is read, and which experts were chosen.
        directions: `weak_directions` of the same weights, where they were made before.

    Raises:
        LandedError: for a trace without weights or without the needed sites.

    References:
        Stolfo et al., Confidence Regulation Neurons in Language Models, 2024, arXiv:2406.16254 (norm against the
        variance of the logits, and the part in the unembedding's effective null space); Gurnee et al., Universal
        Neurons in GPT2 Language Models, 2024, arXiv:2401.12181.

    >>> from landed_jax.testbed import null_space_neuron
    >>> trace = null_space_neuron(neuron=5).trace()
    >>> from landed_jax.analysis.attribution import weak_directions
    >>> found = confidence_signature(trace, weak_directions(trace, 4 / 32))  # four columns of W_U are 0
    >>> int(found.weak[-1, 0, 0].argmax()), round(float(found.weak[-1, 0, 0, 5]), 3)
    (5, 1.0)
    """
    return ConfidenceSignature(*_signature(bare(trace), directions or weak_directions(trace)))


@by_layers
def _signature(trace: Trace, directions: WeakDirections) -> tuple[jax.Array, ...]:
    gamma = gamma_at(trace, "final")
    rows = directions.directions.astype(gamma.dtype)
    read = rows * (directions.singular_values.astype(gamma.dtype) / trace.config.vocab_size**0.5)[:, None]
    weak = jnp.where(jnp.arange(len(rows))[:, None] < directions.count, rows, 0)

    def layer(writes: LayerWrites) -> tuple[jax.Array, ...]:
        # A column's own numbers: neither an activation nor an output norm's scale at a position is in them.
        squares = writes.weighted_squares(jnp.square(gamma)[None]).neurons[0]
        whole = jnp.where(squares > 0, squares, 1)
        along = (writes.squares_along(part * gamma[None]).neurons for part in (read, weak))
        variance, inside = (part / whole for part in along)
        return safe_root(squares), variance, jnp.clip(inside, 0, 1)

    return from_layers(trace, layer, heard=True)
