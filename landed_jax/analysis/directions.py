"""What a logit reads: the direction of a token, of a difference, of a centred logit, or the user's own."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from landed_jax.errors import LandedError
from landed_jax.nn.functions import linear
from landed_jax.nn.sites import Site
from landed_jax.numerics import is_concrete
from landed_jax.parameters import unembedding
from landed_jax.trace import Trace

Target = int | str | Sequence[str] | Int[Array, "..."]


class Reading(NamedTuple):
    """A direction and the model's own value along it.

    Attributes:
        direction: ``[batch or 1, position or 1, d_model]``, in the space that the unembedding reads.
        value: ``[batch, position]``, the model's own logit, difference or projection.
        target, against: ids ``[batch, position]``, where the direction comes from tokens.
    """

    direction: Float[Array, "_ _ d_model"]
    value: Float[Array, "batch position"]
    target: Int[Array, "batch position"] | None
    against: Int[Array, "batch position"] | None


def read_direction(
    trace: Trace,
    target: Target | None = None,
    against: Target | None = None,
    direction: Float[Array, "..."] | None = None,
    centred: bool = False,
) -> Reading:
    """The direction to attribute and the model's value along it. `attribute` describes the arguments.

    Raises:
        LandedError: for arguments that contradict each other, ids out of range, or text without a tokenizer.
    """
    normed = trace[Site.FINAL_NORMED]
    shape = normed.shape[:2]
    if direction is not None:
        if target is not None or against is not None or centred:
            raise LandedError("Give either direction= or tokens (target=, against=, centred=), not both.")
        vector = jnp.asarray(direction, normed.dtype)
        vector = vector.reshape((1,) * (3 - vector.ndim) + vector.shape)
        if vector.ndim != 3 or not _broadcasts(vector.shape, normed.shape):
            raise LandedError(
                f"A direction has shape [d_model] or [batch, position, d_model], here {list(normed.shape)}, "
                f"not {list(jnp.shape(direction))}."
            )
        return Reading(vector, jnp.sum(normed * vector, axis=-1), None, None)
    if centred and against is not None:
        raise LandedError("A logit difference is centred already: give against= or centred=True, not both.")
    W_U = unembedding(trace.weights())
    logits = trace.logits if trace.logits is not None else linear(normed, W_U)
    ids = jnp.argmax(logits, axis=-1) if target is None else token_ids(trace, target)
    vector = jnp.take(W_U, ids, axis=0).astype(normed.dtype)
    ids = jnp.broadcast_to(ids, shape)
    value = _pick(logits, ids)
    other = None
    if against is not None:
        other = token_ids(trace, against)
        vector = vector - jnp.take(W_U, other, axis=0).astype(normed.dtype)
        other = jnp.broadcast_to(other, shape)
        value = value - _pick(logits, other)
    if centred:
        vector = vector - jnp.mean(W_U, axis=0, dtype=normed.dtype)[None, None]
        value = value - jnp.mean(logits, axis=-1)
    return Reading(vector, value, ids, other)


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    return shape[-1] == to[-1] and all(a in (1, b) for a, b in zip(shape, to, strict=True))


def _pick(logits: jax.Array, ids: jax.Array) -> jax.Array:
    return jnp.take_along_axis(logits, ids[..., None], axis=-1)[..., 0]


def token_ids(trace: Trace, target: Target) -> Int[Array, "_ _"]:
    """Ids that broadcast against ``[batch, position]``: one token, one for each prompt, or one for each position."""
    batch, position = trace[Site.FINAL_NORMED].shape[:2]
    if isinstance(target, str) or (isinstance(target, Sequence) and all(isinstance(t, str) for t in target)):
        if trace.vocabulary is None:
            raise LandedError("This trace knows no tokenizer, so a target must be a token id, not text.")
        texts = [target] if isinstance(target, str) else target
        ids = jnp.asarray([trace.vocabulary.token_id(str(text)) for text in texts])
        ids = ids[0] if isinstance(target, str) else ids
    else:
        if isinstance(target, int) and not 0 <= target < trace.config.vocab_size:
            raise LandedError(f"Token id {target} is out of range: ids run from 0 to {trace.config.vocab_size - 1}.")
        ids = jnp.asarray(target)
    if not jnp.issubdtype(ids.dtype, jnp.integer):
        raise LandedError(f"Token ids are whole numbers, not {ids.dtype}.")
    shaped = ids.reshape((1, 1)) if ids.ndim == 0 else ids[:, None] if ids.ndim == 1 else ids
    if shaped.ndim != 2 or shaped.shape[0] not in (1, batch) or shaped.shape[1] not in (1, position):
        raise LandedError(
            f"Targets of shape {list(ids.shape)} fit neither one token, nor one a prompt [{batch}], nor one a "
            f"recorded position [{batch}, {position}]."
        )
    vocab = trace.config.vocab_size
    if is_concrete(shaped) and bool(((shaped < 0) | (shaped >= vocab)).any()):
        raise LandedError(f"A target id is out of range: ids run from 0 to {vocab - 1}.")
    return shaped
