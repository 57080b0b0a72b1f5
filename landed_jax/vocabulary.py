"""Conversion of text to ids, of ids to text, and of a target's text to its single id."""

import re
from collections.abc import Sequence
from typing import Any

from landed_jax.errors import LandedError

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


class Vocabulary:
    """The part of a `transformers` tokenizer that the analyses need. Compared by identity: a static argument."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def encode(self, text: str) -> list[int]:
        """Ids of a prompt, with the special tokens that the tokenizer adds (in most models a BOS)."""
        # Without verbose=False the tokenizer prints a warning for a text beyond the model's length.
        return list(self.tokenizer(text, verbose=False)["input_ids"])

    def unknown(self, text: str) -> list[str]:
        """The parts of a text that have no token, in their order."""
        token = self.tokenizer.unk_token_id
        if token is None or not self.tokenizer.is_fast:
            return []
        found = self.tokenizer(text, return_offsets_mapping=True, verbose=False)
        places = zip(found["input_ids"], found["offset_mapping"], strict=True)
        return [text[start:end].strip() for i, (start, end) in places if i == token]

    def _plain(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def decode(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def text(self, token: int) -> str:
        """The text that a token adds to the text before it: " Rome" for a word's first piece, "," or "ing" for others.

        For a piece that is not text by itself (part of a character), its bytes as ``<0xE9>``, as SentencePiece names
        them: byte-level tokenizers call that byte "é", which is another token's text. For what has no text at all, the
        tokenizer's own name.
        """
        anchor = self._plain(_ANCHOR)
        before = self.decode(anchor)
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
        if text.startswith("#") and text[1:].isdecimal():
            return int(text[1:])  # the model's vocabulary may be larger than the tokenizer's
        for ids in (self._continuation(text), self._plain(text)):
            if len(ids) == 1 and self.text(ids[0]) == text:
                return ids[0]
        known = self.tokenizer.get_vocab()
        for piece in (text, text.replace(" ", "▁"), _piece_of_bytes(text)):
            if piece in known and (piece == text or self.text(known[piece]) == text):
                return known[piece]
        raise LandedError(self._split_message(text))

    def _continuation(self, text: str) -> list[int]:
        anchor = self._plain(_ANCHOR)
        ids = self._plain(_ANCHOR + text)
        return ids[len(anchor) :] if ids[: len(anchor)] == anchor else self._plain(text)

    def _split_message(self, text: str) -> str:
        if not text:
            return "A target has at least one character: give a token's text, or #ID."
        if unknown := self.unknown(text):
            return f"{text!r} is no token: {unknown[0]!r} is not in this vocabulary. Give a token's text, or #ID."
        pieces = [self.text(i) for i in self._continuation(text)]
        message = f"{text!r} is not one token but {len(pieces)}: {' + '.join(map(repr, pieces))}."
        if len(pieces) == 1:
            message = f"No token has the text {text!r}."
        spaced = f" {text}"
        if text and not text.startswith(" ") and len(self._continuation(spaced)) == 1:
            return f"{message} Did you mean {spaced!r}, with the space?"
        return f"{message} Give one token's exact text, or #ID."
