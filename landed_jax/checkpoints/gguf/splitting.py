"""How byte-level tokenizers cut a text into words before they merge: what ``tokenizer.ggml.pre`` names.

The expressions are those of the tokenizers that the models were trained with.

References:
    https://github.com/ggml-org/llama.cpp/blob/master/src/llama-vocab.cpp (which name means which expression)
"""

from collections.abc import Mapping
from dataclasses import dataclass

_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_REST_AND_SLASHES = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SHORT_FORMS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_BEFORE = r"[^\r\n\p{L}\p{N}]?"
# A word ends where small letters change to capitals.
_CASED = (rf"{_BEFORE}{_UPPER}*{_LOWER}+", rf"{_BEFORE}{_UPPER}+{_LOWER}*")


@dataclass(frozen=True)
class Splitting:
    """One way.

    Attributes:
        expression: what a word is; None for GPT-2's own expression.
        single_digits: each digit is a word.
        whole_words: a word that is a token is not merged from its parts.
        adds_bos: a BOS is put before a text where the file does not say it.
        composed: the text is brought into Unicode's composed form (NFC) first.
    """

    expression: str | None = None
    single_digits: bool = False
    whole_words: bool = False
    adds_bos: bool = False
    composed: bool = False


_LLAMA3 = rf"{_SHORT_FORMS}|{_BEFORE}\p{{L}}+|\p{{N}}{{1,3}}|{_REST}"
_QWEN2 = rf"{_SHORT_FORMS}|{_BEFORE}\p{{L}}+|\p{{N}}|{_REST}"
_TEKKEN = rf"{_CASED[0]}|{_CASED[1]}|\p{{N}}|{_REST_AND_SLASHES}"
_GPT4O = rf"{_CASED[0]}{_SHORT_FORMS}?|{_CASED[1]}{_SHORT_FORMS}?|\p{{N}}{{1,3}}|{_REST_AND_SLASHES}"

SPLITTINGS: Mapping[str, Splitting] = {
    **dict.fromkeys(("gpt-2", "phi-2", "mpt", "olmo"), Splitting()),
    **dict.fromkeys(("smollm", "starcoder", "refact", "command-r"), Splitting(single_digits=True)),
    **dict.fromkeys(("llama-bpe", "llama3", "llama-v3"), Splitting(_LLAMA3, whole_words=True, adds_bos=True)),
    **dict.fromkeys(("dbrx", "smaug-bpe"), Splitting(_LLAMA3)),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen"), Splitting(_QWEN2, composed=True)),
    "tekken": Splitting(_TEKKEN, whole_words=True, adds_bos=True),
    **dict.fromkeys(("gpt-4o", "llama4"), Splitting(_GPT4O)),
}
