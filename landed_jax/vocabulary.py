"""Conversion of text to ids, of ids to text, and of a target's text to its single id."""

import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from landed_jax.errors import LandedError, cut, first_line
from landed_jax.tokenizer_errors import raises_landed_errors

_PIECES = 12  # of a text that is not one token, in a message
_ANCHOR = "a"  # a word before the text, which is then tokenised as a continuation and not as the start of a prompt


def _byte_letters() -> dict[str, int]:
    """The letter that byte-level tokenizers (GPT-2's way) write for each byte, and the byte."""
    printing = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printing]
    return {chr(byte): byte for byte in printing} | {chr(256 + i): byte for i, byte in enumerate(others)}


_BYTE_OF = _byte_letters()
_LETTER_OF = {byte: letter for letter, byte in _BYTE_OF.items()}


def _bytes_named(piece: str) -> str:
    """A byte-level tokenizer's piece with the bytes named that are not text; any other piece as it is.

    >>> _bytes_named("Ġé"), _bytes_named("<0xE9>"), _bytes_named("▁")
    (' <0xE9>', '<0xE9>', '▁')
    """
    if not set(piece) <= _BYTE_OF.keys():
        return piece
    text = bytes(_BYTE_OF[letter] for letter in piece).decode("utf-8", "surrogateescape")
    named = "".join(f"<0x{ord(c) - 0xDC00:02X}>" if 0xDC80 <= ord(c) <= 0xDCFF else c for c in text)
    return piece if named == text else named


def _piece_of_bytes(text: str) -> str:
    """The piece that `_bytes_named` names so.

    >>> _piece_of_bytes(" <0xE9>")
    'Ġé'
    """
    raw = re.sub("<0x([89A-F][0-9A-F])>", lambda found: chr(0xDC00 + int(found[1], 16)), text)
    return "".join(_LETTER_OF[byte] for byte in raw.encode("utf-8", "surrogateescape"))


@raises_landed_errors
class Vocabulary:
    """The part of a `transformers` tokenizer that the analyses need. Compared by identity: a static argument.

    Every method raises `LandedError` where the tokenizer fails, by whatever exception.
    """

    def __init__(self, tokenizer: Any, folder: Path | None = None) -> None:
        self.tokenizer = tokenizer
        self.name = "The tokenizer" if folder is None else f"The tokenizer in {folder}"

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Ids of a prompt, with the special tokens that the tokenizer adds in `transformers` (in most models a BOS).

        Never a second BOS: where the text itself begins with the token that would be added in front of it, that token
        stands there as often as the text has it.

        Args:
            add_special_tokens: whether any are added. Those that are written in the text are read as such either way.

        Raises:
            LandedError: for text that is not Unicode (a lone surrogate).
        """
        check_text(text)
        if not add_special_tokens:
            return self._plain(text)
        # Without verbose=False the tokenizer prints a warning for a text beyond the model's length.
        return self._with_one_bos(text, list(self.tokenizer(text, verbose=False)["input_ids"]), self._added_in_front())

    def encode_all(self, texts: Sequence[str], *, add_special_tokens: bool = True) -> list[list[int]]:
        """Ids of many prompts, each as `encode` gives them, in a third of the time.

        Raises:
            LandedError: for a text that is not Unicode.
        """
        for text in texts:
            check_text(text)
        if not texts:
            return []
        read = self.tokenizer(list(texts), add_special_tokens=add_special_tokens, verbose=False)["input_ids"]
        if not add_special_tokens:
            return [list(ids) for ids in read]
        first = self._added_in_front()
        return [self._with_one_bos(text, list(ids), first) for text, ids in zip(texts, read, strict=True)]

    def _with_one_bos(self, text: str, ids: list[int], first: int | None) -> list[int]:
        """The ids without the BOS that was added before one that the text itself has."""
        if first is None or ids[:2] != [first, first]:
            return ids
        written = _times_in_front(first, self._plain(text))
        return ids[_times_in_front(first, ids) - written :] if written else ids

    def _added_in_front(self) -> int | None:
        """The special token that the tokenizer puts before a text: its BOS, whether or not its settings call it so."""
        return next(iter(self.tokenizer("")["input_ids"]), None)

    @property
    def special_ids(self) -> tuple[int, ...]:
        """The ids of the tokenizer's special tokens: BOS, padding and others that stand for no text."""
        return tuple(self.tokenizer.all_special_ids)

    @property
    def end_id(self) -> int | None:
        """The token that ends a text; None where the tokenizer has none."""
        return self.tokenizer.eos_token_id

    def chat(self, text: str) -> str:
        """A text as the user's message in the tokenizer's own chat template, up to where the answer begins.

        The template writes the special tokens: encode it with ``add_special_tokens=False``. `transformers` runs it in
        its sandbox.

        Raises:
            LandedError: for a tokenizer without a template, and one that fails.
        """
        check_text(text)
        if not self.tokenizer.chat_template:
            raise LandedError("This tokenizer has no chat template: give the whole prompt as plain text.")
        messages = [{"role": "user", "content": text}]
        try:
            return self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        except Exception as error:  # a template comes with the model, and may raise whatever it likes
            raise LandedError(f"The tokenizer's chat template failed: {first_line(error)}") from error

    def unknown(self, text: str) -> list[str]:
        """The parts of a text that have no token, in their order. A token for such that the text names is none."""
        token = self.tokenizer.unk_token_id
        # mistral-common's class has no `is_fast`, and no offsets either.
        if token is None or not getattr(self.tokenizer, "is_fast", False):
            return []
        found = self.tokenizer(text, return_offsets_mapping=True, verbose=False)
        places = zip(found["input_ids"], found["offset_mapping"], strict=True)
        parts = [text[start:end] for i, (start, end) in places if i == token]
        return [part.strip() or part for part in parts if part and part.strip() != self.tokenizer.unk_token]

    @functools.cached_property
    def _anchor(self) -> tuple[list[int], str]:
        """The ids of the word before a text, and what they are decoded to."""
        ids = self._plain(_ANCHOR)
        return ids, self.decode(ids)

    def _plain(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def decode(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def text(self, token: int) -> str:
        """The text that a token adds to the text before it: " Rome" for a word's first piece, "," or "ing" for others.

        For a piece that is not text by itself (part of a character), its bytes as ``<0xE9>``, as SentencePiece names
        them: byte-level tokenizers call that byte "é", which is another token's text. For what has no text at all, the
        tokenizer's own name.
        """
        anchor, before = self._anchor
        whole = self.decode([*anchor, int(token)])
        added = whole[len(before) :] if whole.startswith(before) else whole
        if added and "�" not in added:
            return added
        piece = self.tokenizer.convert_ids_to_tokens(int(token))
        return f"#{int(token)}" if piece is None else _bytes_named(piece)

    def token_id(self, text: str) -> int:
        """The id of a target: a token's exact text, or ``#ID``.

        Raises:
            LandedError: if the text is not exactly one token; the message shows how it splits.
        """
        check_text(text)
        if (token := _numbered(text)) is not None:
            return token  # the model's vocabulary may be larger than the tokenizer's
        for split in (self._continuation, self._plain):
            ids = split(text)
            if len(ids) == 1 and self.text(ids[0]) == text:
                return ids[0]
        known = self.tokenizer.get_vocab()
        for piece in (text, text.replace(" ", "▁"), _piece_of_bytes(text)):
            if piece in known and (piece == text or self.text(known[piece]) == text):
                return known[piece]
        raise LandedError(self._split_message(text))

    def _continuation(self, text: str) -> list[int]:
        anchor, _ = self._anchor
        ids = self._plain(_ANCHOR + text)
        return ids[len(anchor) :] if ids[: len(anchor)] == anchor else self._plain(text)

    def _split_message(self, text: str) -> str:
        if not text:
            return "A target has at least one character: give a token's text, or #ID."
        name = quoted(text)
        if unknown := self.unknown(text):
            return f"{name} is no token: {quoted(unknown[0])} is not in this vocabulary. Give a token's text, or #ID."
        ids = self._continuation(text)
        pieces = [repr(self.text(i)) for i in ids[:_PIECES]]
        more = [f"{len(ids) - _PIECES:,} more"] if len(ids) > _PIECES else []
        message = f"{name} is not one token but {len(ids):,}: {' + '.join(pieces + more)}."
        if len(ids) == 1:
            message = f"No token has the text {name}."
        spaced = f" {text}"
        if text and not text.startswith(" ") and len(self._continuation(spaced)) == 1:
            return f"{message} Did you mean {spaced!r}, with the space?"
        return f"{message} Give one token's exact text, or #ID."


class NumberedTokens(Vocabulary):
    """Stands in where a model has no tokenizer: every token is shown and asked for by its id, as ``#ID``.

    >>> NumberedTokens().text(5), NumberedTokens().token_id("#5")
    ('#5', 5)
    """

    def __init__(self) -> None:
        pass

    @property
    def special_ids(self) -> tuple[int, ...]:
        return ()

    @property
    def end_id(self) -> int | None:
        return None

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        raise LandedError("This model has no tokenizer, so it cannot read text: give token ids.")

    def chat(self, text: str) -> str:
        raise LandedError("This model has no tokenizer, and so no chat template: give token ids.")

    def unknown(self, text: str) -> list[str]:
        return []

    def decode(self, ids: Sequence[int]) -> str:
        return " ".join(map(self.text, ids))

    def text(self, token: int) -> str:
        return f"#{int(token)}"

    def token_id(self, text: str) -> int:
        if (token := _numbered(text)) is None:
            raise LandedError(f"This model has no tokenizer, so {quoted(text)} names no token: give its id as #ID.")
        return token


def quoted(text: str) -> str:
    """A text as messages show it: by its first 60 characters.

    >>> quoted("a" * 70) == repr("a" * 57 + "...")
    True
    """
    return repr(cut(text, 60))


def check_text(text: str) -> None:
    """Refuse what is no Unicode: tokenizers fail on lone surrogates, which Python makes of bytes that are no UTF-8.

    Raises:
        LandedError: quoting its beginning.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise LandedError(f"{quoted(text)} is not text in UTF-8.") from None


def _numbered(text: str) -> int | None:
    """The id in ``#ID``; None for other text."""
    found = re.fullmatch("#([0-9]{1,18})", text)
    return int(found[1]) if found else None


def _times_in_front(token: int, ids: Sequence[int]) -> int:
    return next((n for n, other in enumerate(ids) if other != token), len(ids))
