"""Target tokens as users give them: text or ids, one for all, one a prompt, or one a position."""

from collections.abc import Sequence
from typing import TypeGuard

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from landed_jax.errors import LandedError
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.hook_points import HookPoint
from landed_jax.numerics import is_concrete
from landed_jax.trace import Trace
from landed_jax.vocabulary import Vocabulary

Target = int | str | Sequence[str] | Int[Array, "..."]


def is_text(token: object) -> TypeGuard[str | Sequence[str]]:
    """Whether tokens are given by their text: one, or several."""
    return isinstance(token, str) or (
        isinstance(token, Sequence) and len(token) > 0 and all(isinstance(part, str) for part in token)
    )


def ids_of(target: Target, vocabulary: Vocabulary | None, config: ModelConfig) -> Int[Array, "..."]:
    """A target's ids, in the shape in which it is given.

    Raises:
        LandedError: for text that is not one token, or without a tokenizer, and ids that the model does not have (where
            they are known: not under ``jit``).
    """
    if is_text(target):
        if vocabulary is None:
            raise LandedError("There is no tokenizer here, so a target must be a token id, not text.")
        found = [vocabulary.token_id(text) for text in ([target] if isinstance(target, str) else target)]
        target = found[0] if isinstance(target, str) else jnp.asarray(found)
    # By NumPy: inside jit JAX would trace the comparison, of known ids too.
    known = np.asarray(target) if is_concrete(target) else np.zeros(0)
    if known.size and np.issubdtype(known.dtype, np.integer):
        for end in (known.min(), known.max()):
            if not 0 <= end < config.vocab_size:
                raise LandedError(
                    f"There is no token {end}, it is out of range: ids run from 0 to {config.vocab_size - 1}."
                )
    ids = jnp.asarray(target)
    if not jnp.issubdtype(ids.dtype, jnp.integer):
        raise LandedError(f"Token ids are whole numbers, not {ids.dtype}.")
    return ids


def token_ids(trace: Trace, target: Target) -> Int[Array, "_ _"]:
    """Ids that broadcast against ``[batch, position]``: one token, one for each prompt, or one for each position.

    Raises:
        LandedError: for ids of another shape, and what `ids_of` refuses.
    """
    batch, position = trace[HookPoint.FINAL_NORMED].shape[:2]
    ids = ids_of(target, trace.vocabulary, trace.config)
    shaped = ids.reshape((1, 1)) if ids.ndim == 0 else ids[:, None] if ids.ndim == 1 else ids
    if shaped.ndim != 2 or shaped.shape[0] not in (1, batch) or shaped.shape[1] not in (1, position):
        raise LandedError(
            f"Targets of shape {list(ids.shape)} fit neither one token, nor one a prompt [{batch}], nor one a "
            f"recorded position [{batch}, {position}]."
        )
    return shaped
