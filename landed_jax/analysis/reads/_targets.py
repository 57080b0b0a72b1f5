"""Target tokens as users give them: text or ids, one for all, one a prompt, or one a position."""

from collections.abc import Sequence
from typing import TypeGuard

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from landed_jax.errors import LandedError
from landed_jax.nn.hook_points import HookPoint
from landed_jax.numerics import is_concrete
from landed_jax.trace import Trace

Target = int | str | Sequence[str] | Int[Array, "..."]


def is_text(token: object) -> TypeGuard[str | Sequence[str]]:
    """Whether tokens are given by their text: one, or several."""
    return isinstance(token, str) or (
        isinstance(token, Sequence) and len(token) > 0 and all(isinstance(part, str) for part in token)
    )


def token_ids(trace: Trace, target: Target) -> Int[Array, "_ _"]:
    """Ids that broadcast against ``[batch, position]``: one token, one for each prompt, or one for each position."""
    batch, position = trace[HookPoint.FINAL_NORMED].shape[:2]
    if is_text(target):
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
    # By NumPy: inside jit JAX would trace the comparison, of known ids too.
    if is_concrete(shaped) and bool(((np.asarray(shaped) < 0) | (np.asarray(shaped) >= vocab)).any()):
        raise LandedError(f"A target id is out of range: ids run from 0 to {vocab - 1}.")
    return shaped
