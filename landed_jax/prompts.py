"""Prompts as users have them: text, ids in any form, a tokenizer's `BatchEncoding`; and what is worth a warning."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from landed_jax.errors import LandedError, cut, listed, shown
from landed_jax.nn.config import ModelConfig
from landed_jax.numerics import is_concrete
from landed_jax.tokens import Tokens, as_tokens, check_id, check_ids, check_length, check_positions
from landed_jax.vocabulary import Vocabulary, quoted

_MOST = 12  # sentences in one warning
LONGEST = 4 << 20
"""Characters of a prompt: about a million tokens, for which a tokenizer takes half a gigabyte and half a minute."""


class PromptWarning(UserWarning):
    """A prompt that is computed as it is, but may not be what was meant: too long, empty, or with unknown words."""


@dataclass(frozen=True)
class Prompt:
    """One prompt as the model reads it.

    Attributes:
        text: as it was written; of ids, what they say.
        ids: at least one.
        warnings: sentences, without a full stop.
    """

    text: str
    ids: list[int]
    warnings: tuple[str, ...] = ()


def read_text(
    text: str, vocabulary: Vocabulary, config: ModelConfig, *, add_special_tokens: bool = True, chat: bool = False
) -> Prompt:
    """A text as the model reads it.

    Args:
        add_special_tokens: as for `Vocabulary.encode`.
        chat: the text is the user's message in the tokenizer's chat template.

    Raises:
        LandedError: for text that is not Unicode, longer than `LONGEST`, or that becomes no token, and a tokenizer
            without a template.
    """
    if len(text) > LONGEST:
        raise LandedError(f"A prompt of {len(text):,} characters is no prompt: at most {LONGEST:,} are read.")
    read = vocabulary.chat(text) if chat else text
    ids = vocabulary.encode(read, add_special_tokens=add_special_tokens and not chat)
    if not ids:
        raise LandedError(
            f"The prompt {quoted(text)} becomes no token: there is no position to look at. Give some text."
        )
    said = too_long([len(ids)], config)
    if not text:
        said.append(f"the prompt is empty: the model reads {cut(vocabulary.decode(ids), 60)} alone")
    if unknown := list(dict.fromkeys(vocabulary.unknown(read))):
        named = listed([repr(cut(word, 60)) for word in unknown]).replace("; ", ", ")
        said.append(f"not in this model's vocabulary, and read as an unknown word: {named}")
    return Prompt(text, ids, tuple(said))


def read_ids(ids: Sequence[int], vocabulary: Vocabulary, config: ModelConfig) -> Prompt:
    """Token ids as the model reads them: nothing is added.

    Raises:
        LandedError: for no id, or one that the model does not have.
    """
    if not ids:
        raise LandedError("The prompt holds no token id: there is no position to look at.")
    for token in ids:
        check_id(token, config.vocab_size)
    return Prompt(vocabulary.decode(ids), list(map(int, ids)), tuple(too_long([len(ids)], config)))


def read_prompts(
    prompts: Any, vocabulary: Vocabulary | None, config: ModelConfig, no_vocabulary: str = ""
) -> tuple[Tokens, list[str]]:
    """Prompts in any form as tokens, and sentences to warn of. `Tokens` are taken as they are.

    Args:
        prompts: text, several texts, or what `tokens_from_ids` takes.
        no_vocabulary: why there is no tokenizer.

    Raises:
        LandedError: for text without a tokenizer, and what `read_text` and `tokens_from_ids` refuse.
    """
    if (texts := texts_of(prompts)) is not None:
        if vocabulary is None:
            raise LandedError(f"{no_vocabulary or 'This model has no tokenizer.'} Pass token ids in place of text.")
        read = [read_text(text, vocabulary, config) for text in texts]
        said = [
            sentence if len(read) == 1 else f"prompt {i}: {sentence}"
            for i, prompt in enumerate(read)
            for sentence in prompt.warnings
        ]
        return Tokens.from_lists([prompt.ids for prompt in read]), said
    tokens = tokens_from_ids(prompts, config.vocab_size)
    if config.learned_positions:
        check_positions(tokens, config.max_positions)
    if isinstance(prompts, Tokens) or not is_concrete(tokens.mask):
        return tokens, []
    return tokens, too_long(np.asarray(tokens.mask).sum(axis=-1).tolist(), config)


def texts_of(prompts: Any) -> list[str] | None:
    """Prompts that are given as text, one or several; None for any other form.

    >>> texts_of("a"), texts_of([[1, 2]])
    (['a'], None)
    """
    texts = [prompts] if isinstance(prompts, str) else prompts
    return list(texts) if is_list(texts) and texts and all(isinstance(text, str) for text in texts) else None


def warn_of(said: Sequence[str]) -> None:
    """One warning of all sentences, at the line where a user called the method that calls this."""
    more = [f"and {len(said) - _MOST:,} more"] if len(said) > _MOST else []
    if said:
        warnings.warn("; ".join([*said[:_MOST], *more]), PromptWarning, stacklevel=3)


def too_long(lengths: Sequence[int], config: ModelConfig) -> list[str]:
    """A sentence if prompts of these many tokens are longer than the model was made for.

    Raises:
        LandedError: for prompts that are longer than the positions that the model learned.
    """
    longest = max(lengths, default=0)
    if config.learned_positions:
        check_length(longest, config.max_positions)
    if longest <= config.max_positions:
        return []
    return [f"the prompt has {longest} tokens, more than the {config.max_positions} this model was made for"]


def tokens_from_ids(prompts: Any, vocab_size: int) -> Tokens:
    """Prompts that are given by their ids.

    Args:
        prompts: `Tokens`; one list of ids or a list of such lists, of any lengths; an array ``[position]`` or
            ``[batch, position]``, of any library that NumPy can read; or what a tokenizer of `transformers` returns
            (any mapping with ``input_ids``, and ``attention_mask`` where there is padding).

    Raises:
        LandedError: for anything else, a prompt without a token, and ids that the model does not have.
    """
    if isinstance(prompts, Mapping):
        return _from_encoding(prompts, vocab_size)
    if is_list(prompts):
        rows = [prompts] if prompts and not any(is_list(row) or np.ndim(row) for row in prompts) else prompts
        return Tokens.from_lists([_row(row, vocab_size) for row in rows])
    if not isinstance(prompts, Tokens):
        prompts = _array(prompts, "Token ids")
        prompts = prompts[None] if prompts.ndim == 1 else prompts
    tokens = as_tokens(prompts)
    check_ids(tokens, vocab_size)
    return tokens


def is_list(value: Any) -> bool:
    """A list, a tuple or the like, and no text."""
    return isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray)


def _from_encoding(encoding: Mapping[str, Any], vocab_size: int) -> Tokens:
    if "input_ids" not in encoding:
        raise LandedError("A mapping is taken for what a tokenizer returns, and this one has no input_ids.")
    ids, mask = encoding["input_ids"], encoding.get("attention_mask")
    if not all(map(is_concrete, (ids, mask))):
        raise LandedError("Inside jit the numbers of an encoding are not known: give Tokens.")
    if mask is None:
        return tokens_from_ids(ids, vocab_size)
    if is_list(ids) and is_list(mask) and len({len(row) if is_list(row) else 0 for row in ids}) > 1:
        return _of_unequal_lists(ids, mask, vocab_size)
    ids, mask = (np.asarray(_array(part, name)) for part, name in ((ids, "input_ids"), (mask, "attention_mask")))
    if ids.ndim == 1 == mask.ndim:
        ids, mask = ids[None], mask[None]
    if ids.shape != mask.shape or ids.ndim != 2:
        raise LandedError(
            f"input_ids and attention_mask have one shape [batch, position], not {list(ids.shape)} and "
            f"{list(mask.shape)}."
        )
    if not np.isin(mask, (0, 1)).all():
        raise LandedError("An attention_mask holds 1 for tokens and 0 for padding, and nothing else.")
    real = mask == 1
    if not real.any(axis=-1).all():
        raise LandedError("A prompt without any token has no position to look at: give at least one token.")
    # A tokenizer may pad with an id that the model does not have.
    return Tokens(*jax.device_put((np.where(real, _small(ids, vocab_size, real), 0), real)))


def _of_unequal_lists(ids: Sequence[Any], mask: Sequence[Any], vocab_size: int) -> Tokens:
    sizes = [[len(row) if is_list(row) else -1 for row in part] for part in (ids, mask)]
    if sizes[0] != sizes[1]:
        raise LandedError("input_ids and attention_mask have not as many numbers for each prompt.")
    kept = [[token for token, is_real in zip(*rows, strict=True) if is_real] for rows in zip(ids, mask, strict=True)]
    return tokens_from_ids(kept, vocab_size)


def _small(ids: np.ndarray, vocab_size: int, real: np.ndarray) -> np.ndarray:
    """Ids in 32 bits, checked before the cast, which would make another token of a large one."""
    if not np.issubdtype(ids.dtype, np.integer):
        raise LandedError(f"Token ids are whole numbers, not {ids.dtype}.")
    for token in (ids[real].min(), ids[real].max()):
        check_id(token, vocab_size)
    return ids.astype(np.int32)


def _row(row: Any, vocab_size: int) -> list[int]:
    """One prompt's ids. One out of range is refused, as JAX would silently read another token."""
    ids = row if is_list(row) else _array(row, "A prompt's ids")
    if not is_list(ids):
        if ids.ndim != 1:
            raise LandedError(f"A prompt's ids are a list of whole numbers, not {shown(row)}.")
        ids = np.asarray(ids).tolist()
    for token in ids:
        check_id(token, vocab_size)
    return ids


def _array(value: Any, name: str) -> Any:
    """JAX's arrays and tracers as they are; what else NumPy can read (a tensor in this machine's memory) as NumPy's."""
    if isinstance(value, jax.Array) or not is_concrete(value):
        return value
    try:
        found = np.asarray(value)
    except Exception as error:  # whatever the array's own library raises, for a tensor on a GPU for example
        raise LandedError(f"{name} cannot be read as an array: {cut(str(error), 200)}") from None
    if found.dtype.kind not in "iufb":
        raise LandedError(f"{name} are whole numbers [batch, position], not {shown(value)}.")
    return found
