"""A batch of tokenised prompts."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from landed_jax.errors import LandedError, shown
from landed_jax.numerics import is_concrete
from landed_jax.shapes import ShapeRepr


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False)
class Tokens(ShapeRepr):
    """Token ids with a mask that is False on padding.

    Padding may be on either side. Positions count real tokens only, so a prompt in a batch has the same results as
    alone.

    >>> Tokens.from_lists([[5, 6, 7], [8]]).mask
    Array([[ True,  True,  True],
           [False, False,  True]], dtype=bool)
    """

    ids: Int[Array, "batch position"]
    mask: Bool[Array, "batch position"]

    @classmethod
    def from_lists(cls, prompts: Sequence[Sequence[int]]) -> "Tokens":
        """Prompts of any lengths, padded on the left (with id 0, which the mask hides), so that each ends at −1.

        Raises:
            LandedError: for no prompt, a prompt without a token, and what is no id.
        """
        if not prompts or any(len(p) == 0 for p in prompts):
            raise LandedError("A prompt without any token has no position to look at: give at least one token.")
        length = max(len(p) for p in prompts)
        ids = np.zeros((len(prompts), length), np.int32)
        mask = np.zeros((len(prompts), length), bool)
        for row, prompt in enumerate(prompts):
            ids[row, length - len(prompt) :] = _whole_numbers(prompt)
            mask[row, length - len(prompt) :] = True
        return cls(*jax.device_put((ids, mask)))  # jnp.asarray would compile a program for each shape

    def bucketed(self) -> "Tokens":
        """The same prompts with more padding on the left, up to a `bucket_length`.

        Results stay the same to the rounding of float sums, and a program that is compiled for one length is reused by
        all lengths of its bucket. Columns are shifted by the padding: count them from the right.

        >>> Tokens.from_lists([[5, 6, 7]]).bucketed().ids.shape
        (1, 16)
        """
        return self._with(bucket_length(self.ids.shape[-1]) - self.ids.shape[-1])

    def padded(self, multiple: int) -> "Tokens":
        """The same prompts with more padding on the left, up to a multiple of so many columns.

        >>> Tokens.from_lists([[5, 6, 7]]).padded(4).ids.shape
        (1, 4)
        """
        return self._with(-self.ids.shape[-1] % multiple)

    def _with(self, padding: int) -> "Tokens":
        more = ((0, 0), (padding, 0))
        return Tokens(*jax.device_put((np.pad(self.ids, more), np.pad(self.mask, more))))

    @property
    def positions(self) -> Int[Array, "batch position"]:
        """Each token's place in its own prompt; 0 on left padding."""
        return _positions(self.mask)


def _whole_numbers(prompt: Sequence[int]) -> np.ndarray:
    """The ids of one prompt. Numpy would round 1.5 to 1 in silence, and JAX would cut an id beyond 32 bits."""
    try:
        ids = np.asarray(prompt)
    except ValueError:  # lists of several lengths
        ids = np.zeros(0)
    if ids.ndim != 1 or ids.dtype.kind not in "iu" or ids.min() < -(2**31) or ids.max() >= 2**31:
        raise LandedError(f"Token ids are whole numbers of 32 bits, not {shown(prompt)}.")
    return ids


@jax.jit
def _positions(mask: jax.Array) -> jax.Array:
    return jnp.maximum(jnp.cumsum(mask, axis=-1, dtype=jnp.int32) - 1, 0)


def bucket_length(length: int) -> int:
    """The next of a few lengths: 16, 32, 64, 128, then four lengths between each power of two and the next.

    Beyond 128 the padding is less than a quarter of the prompt.

    >>> [bucket_length(n) for n in (1, 16, 17, 128, 129, 257, 1025)]
    [16, 16, 32, 128, 160, 320, 1280]
    """
    double = max(16, 1 << (length - 1).bit_length())
    step = double if double <= 128 else double // 8
    return -(-length // step) * step


def as_tokens(tokens: "Tokens | Int[Array, 'batch position']") -> Tokens:
    """A `Tokens`, from itself or from an unpadded ``[batch, position]`` array of ids.

    Raises:
        LandedError: if the array is not of rank 2 or not of whole numbers, or the mask has another shape.
    """
    if isinstance(tokens, Tokens):
        ids, mask = jnp.shape(tokens.ids), jnp.shape(tokens.mask)
        if len(ids) != 2 or ids != mask or 0 in ids:
            raise LandedError(
                f"Tokens need ids and a mask of one shape [batch, position], not {list(ids)} and {list(mask)}."
            )
        if not jnp.issubdtype(tokens.ids.dtype, jnp.integer):
            raise LandedError(f"Token ids are whole numbers, not {tokens.ids.dtype}.")
        return tokens
    try:
        ids = jnp.asarray(tokens)
    except (TypeError, ValueError, OverflowError):
        raise LandedError(
            f"Token ids are an array of whole numbers [batch, position], not {shown(tokens)}; prompts of unequal "
            "lengths need padding and a mask: see Tokens.from_lists."
        ) from None
    if not jnp.issubdtype(ids.dtype, jnp.integer):
        raise LandedError(f"Token ids are whole numbers, not {ids.dtype}.")
    if isinstance(tokens, np.ndarray) and tokens.size and tokens.dtype.itemsize > ids.dtype.itemsize:
        known = np.iinfo(ids.dtype)
        for token in (int(tokens.min()), int(tokens.max())):
            if not known.min <= token <= known.max:  # JAX would cut the upper bits off, and read another token
                raise LandedError(f"There is no token {token}: ids are numbers of {known.bits} bits.")
    if ids.ndim != 2 or 0 in ids.shape:
        hint = " (one prompt alone: [ids])" if ids.ndim == 1 and ids.size else ""
        raise LandedError(f"Token ids have the shape [batch, position]{hint}, not {list(ids.shape)}.")
    return Tokens(ids, jnp.ones(ids.shape, bool))


def rows_of(tokens: Tokens) -> list[list[int]]:
    """Each prompt's ids, without padding.

    >>> rows_of(Tokens.from_lists([[5, 6, 7], [8]]))
    [[5, 6, 7], [8]]
    """
    ids, mask = np.asarray(tokens.ids), np.asarray(tokens.mask)
    return [row[real].tolist() for row, real in zip(ids, mask, strict=True)]


def check_aligned(clean: Tokens, corrupted: Tokens) -> None:
    """Refuse corrupted prompts that do not stand in the same columns as the clean ones.

    Raises:
        LandedError: for batches of unlike shapes, and for the first prompt whose padding differs (under ``jit`` it
            cannot be checked).
    """
    both = clean, corrupted
    shapes, known = [tokens.ids.shape for tokens in both], all(is_concrete(tokens.mask) for tokens in both)
    if shapes[0][0] != shapes[1][0] or (shapes[0] != shapes[1] and not known):
        said = (" × ".join(map(str, shape)) for shape in shapes)
        raise LandedError("Clean and corrupted prompts have as many tokens each, not {} and {}.".format(*said))
    if not known:
        return
    masks = [np.asarray(tokens.mask) for tokens in both]
    for prompt, (own, other) in enumerate(zip(*masks, strict=True)):
        if own.sum() != other.sum():
            raise LandedError(
                f"Clean prompt {prompt} has {own.sum()} tokens and its corrupted one {other.sum()}: give prompts of as "
                "many tokens each."
            )
        if not np.array_equal(own, other):
            raise LandedError(
                f"Clean prompt {prompt} and its corrupted one are padded differently: pad both in the same columns."
            )


def check_ids(tokens: Tokens, vocab_size: int) -> None:
    """Refuse ids out of the vocabulary's range, for which JAX would silently read another token.

    Raises:
        LandedError: naming one (under ``jit`` they cannot be checked).
    """
    if not is_concrete(tokens.ids):
        return
    ids = np.asarray(tokens.ids)
    for token in (int(ids.min()), int(ids.max())):
        check_id(token, vocab_size)


def check_positions(tokens: Tokens, learned: int) -> None:
    """Refuse prompts that are longer than the positions that a model learned.

    Raises:
        LandedError: with the longest's length (under ``jit`` it cannot be checked).
    """
    if is_concrete(tokens.mask):
        check_length(int(np.asarray(tokens.mask).sum(axis=-1).max()), learned)


def check_length(length: int, learned: int) -> None:
    """Refuse a prompt that is longer than the positions that a model learned.

    Raises:
        LandedError: with its length.
    """
    if length > learned:
        raise LandedError(f"The prompt has {length} tokens, and this model learned no position beyond {learned}.")


def check_id(token: object, vocab_size: int) -> None:
    """Refuse what is no id of a vocabulary.

    Raises:
        LandedError: for what is no whole number (True is none), or out of range.
    """
    if isinstance(token, bool) or not isinstance(token, int | np.integer) or not 0 <= token < vocab_size:
        token = int(token) if isinstance(token, np.integer) else token
        raise LandedError(f"There is no token {shown(token)}: this model's ids run from 0 to {vocab_size - 1}.")


def columns(at: int | Sequence[int] | Int[Array, " n"], length: int) -> Int[Array, " n"]:
    """Columns counted from the left, from columns counted from either end.

    Raises:
        LandedError: if one is out of range (under ``jit`` a traced one cannot be checked).

    >>> columns([0, -1], 5)
    Array([0, 4], dtype=int32)
    """
    if is_concrete(at):
        wanted = np.atleast_1d(np.asarray(at))
        if wanted.ndim != 1 or not wanted.size or not np.issubdtype(wanted.dtype, np.integer):
            raise LandedError(f"at={at!r} is not a column or a list of columns (whole numbers).")
        if wanted.min() < -length or wanted.max() >= length:
            raise LandedError(
                f"at={at!r} is out of range: the prompts have {length} columns, from 0 or from -{length}."
            )
        return jax.device_put(np.mod(wanted.astype(np.int64), length).astype(np.int32))
    return jnp.mod(jnp.atleast_1d(jnp.asarray(at, jnp.int32)), length)
