"""Conversion of text to ids, of ids to text, and of a target's text to its single id."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from landed_jax.errors import LandedError
from landed_jax.tokenizer_errors import raises_landed_errors

_ANCHOR = "a"  # a word before the text, which is then tokenised as a continuation and not as the start of a prompt


@raises_landed_errors
class Vocabulary:
    """The part of a `transformers` tokenizer that the analyses need. Compared by identity: a static argument.

    Every method raises `LandedError` where the tokenizer fails, by whatever exception.
    """

    def __init__(self, tokenizer: Any, folder: Path | None = None) -> None:
        self.tokenizer = tokenizer
        self.name = "The tokenizer" if folder is None else f"The tokenizer in {folder}"

    def encode(self, text: str) -> list[int]:
        """Ids of a prompt, with the special tokens that the tokenizer adds (in most models a BOS)."""
        # Without verbose=False the tokenizer prints a warning for a text beyond the model's length.
        return list(self.tokenizer(text, verbose=False)["input_ids"])

    def unknown(self, text: str) -> list[str]:
        """The parts of a text that have no token, in their order."""
        token = self.tokenizer.unk_token_id
        # mistral-common's class has no `is_fast`, and no offsets either.
        if token is None or not getattr(self.tokenizer, "is_fast", False):
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

        For a piece that is not text by itself (part of a character), the tokenizer's own name for it.
        """
        anchor = self._plain(_ANCHOR)
        before = self.decode(anchor)
        whole = self.decode([*anchor, int(token)])
        added = whole[len(before) :] if whole.startswith(before) else whole
        if added and "�" not in added:
            return added
        piece = self.tokenizer.convert_ids_to_tokens(int(token))
        return f"#{int(token)}" if piece is None else piece

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
        for piece in (text, text.replace(" ", "▁")):
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
