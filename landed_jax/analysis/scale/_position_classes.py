"""First token, delimiter, other: σ differs by orders of magnitude between them, so statistics keep them apart."""

import string
import unicodedata
from collections.abc import Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from landed_jax.analysis.registry import analysis
from landed_jax.errors import LandedError
from landed_jax.numerics import is_concrete
from landed_jax.results.result import Result, result
from landed_jax.tokens import Tokens
from landed_jax.trace import Trace
from landed_jax.vocabulary import Vocabulary

Delimiters = Sequence[int] | Int[Array, " n"]


def is_delimiter(text: str) -> bool:
    """Whether a token's text is punctuation or whitespace and nothing else.

    Punctuation is what Unicode calls so, and ASCII's own: ``$``, ``+`` and ``<`` too, which Unicode calls symbols.

    >>> [is_delimiter(text) for text in (".", ",\\n", " —", "<", " a.", "<s>", "")]
    [True, True, True, True, False, False, False]
    """
    return bool(text) and all(
        c.isspace() or c in string.punctuation or unicodedata.category(c).startswith("P") for c in text
    )


def delimiter_ids(vocabulary: Vocabulary, ids: Iterable[int]) -> tuple[int, ...]:
    """Those of the given ids that are delimiters by their text: for a whole vocabulary, ``range(config.vocab_size)``.

    >>> class Letters:
    ...     def text(self, token): return "a.b,"[token]
    >>> delimiter_ids(Letters(), [3, 0, 1, 3])
    (1, 3)
    """
    return tuple(sorted(token for token in {int(i) for i in ids} if is_delimiter(vocabulary.text(token))))


@result
class PositionClasses(Result):
    """Which recorded position belongs to which class of `POSITION_CLASSES`.

    Attributes:
        members: every real token belongs to exactly one class, padding to none.
    """

    members: Bool[Array, "class batch position"]


@analysis(example=lambda trace: {"delimiters": [3]})
def position_classes(trace: Trace, *, delimiters: Delimiters | None = None) -> PositionClasses:
    """Which recorded position belongs to which class, in the order of `POSITION_CLASSES`.

    Every real token belongs to exactly one: a prompt's first token is ``first`` whatever it is. Padding belongs to
    none. "First" is the first column that is not padding, BOS or not.

    Args:
        trace: any trace; it need not be bound if `delimiters` is given.
        delimiters: ids of the tokens that count as delimiters; by default those of the prompts' own tokens whose text
            is only punctuation or whitespace, which needs a tokenizer.

    Raises:
        LandedError: without `delimiters` where the trace knows no tokenizer, or under ``jit`` and ``vmap``, where ids
            cannot be looked up; for delimiters that are not whole numbers.

    References:
        Sun et al., Massive Activations in Large Language Models, 2024 (where they sit: first token and delimiters).

    >>> from landed_jax import ModelConfig, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=1, n_heads=2, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> _, trace = forward(init_params(config, jax.random.key(0)), jnp.array([[7, 5, 7]]), config)
    >>> position_classes(trace, delimiters=[7]).members.argmax(0)
    Array([[0, 2, 1]], dtype=int32)
    """
    tokens = trace.tokens
    wanted = _ids(_of_the_prompts(trace) if delimiters is None else delimiters, tokens.ids.dtype)
    return PositionClasses(class_members(tokens, trace.at, jnp.isin(tokens.ids, wanted)))


@jax.jit
def class_members(
    tokens: Tokens, at: Int[Array, " column"], wanted: Bool[Array, "batch position"]
) -> Bool[Array, "class batch column"]:
    """Which of the columns `at` belongs to which class of `POSITION_CLASSES`.

    Args:
        wanted: which tokens are delimiters, wherever they stand.
    """
    first = tokens.positions == 0
    delimiter = wanted & ~first
    classes = jnp.stack([first, delimiter, ~first & ~delimiter]) & tokens.mask[None]
    return jnp.take(classes, at, axis=-1)


def _of_the_prompts(trace: Trace) -> tuple[int, ...]:
    if trace.vocabulary is None:
        raise LandedError("This trace knows no tokenizer, so say which ids are delimiters: delimiters=.")
    if not is_concrete(trace.tokens.ids) or not is_concrete(trace.tokens.mask):
        raise LandedError(
            "Inside jit, vmap or grad the tokens' text cannot be looked up: find the ids before, with "
            "delimiter_ids(vocabulary, ids), and pass delimiters=."
        )
    return delimiter_ids(trace.vocabulary, np.asarray(trace.tokens.ids)[np.asarray(trace.tokens.mask)].tolist())


def _ids(delimiters: Delimiters, dtype: jnp.dtype) -> jax.Array:
    ids = jnp.asarray(delimiters)
    if ids.ndim != 1 or (ids.size and not jnp.issubdtype(ids.dtype, jnp.integer)):
        raise LandedError(f"Delimiters are a list of token ids, not {ids.dtype} of shape {list(ids.shape)}.")
    return ids.astype(dtype)
