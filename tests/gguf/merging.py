"""Both kinds of tokenizer in plain Python, as llama.cpp runs them.

References:
    https://github.com/ggml-org/llama.cpp/blob/master/src/llama-vocab.cpp (regex_exprs; llm_tokenizer_bpe_session,
    llm_tokenizer_spm_session)
"""

import itertools
from collections.abc import Mapping, Sequence

import regex
from transformers.convert_slow_tokenizer import bytes_to_unicode

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_TAIL = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
_FORMS = r"'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]"
LLAMA3 = rf"(?:{_FORMS})|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*{_TAIL}"
QWEN2 = LLAMA3.replace("{1,3}", "")
_WORDS = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
)
TEKKEN = rf"{'|'.join(_WORDS)}|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*{_TAIL}"
GPT4O = "|".join(rf"{word}(?:{_FORMS})?" for word in _WORDS) + rf"|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*{_TAIL}"
# Each expression cuts what the ones before it left between their findings, or found.
EXPRESSIONS = {
    "gpt-2": [GPT2],
    "smollm": [r"\p{N}", GPT2],
    "llama-bpe": [LLAMA3],
    "dbrx": [LLAMA3],
    "qwen2": [QWEN2],
    "tekken": [TEKKEN],
    "gpt-4o": [GPT4O],
}
_LETTERS = bytes_to_unicode()


def words_of(text: str, expressions: Sequence[str]) -> list[str]:
    parts = [text]
    for expression in expressions:
        cut: list[str] = []
        for part in parts:
            at = 0
            for found in regex.finditer(expression, part):
                cut += [part[at : found.start()], found[0]]
                at = found.end()
            cut.append(part[at:])
        parts = [part for part in cut if part]
    return parts


def byte_level_ids(
    text: str, vocab: Mapping[str, int], merges: Sequence[tuple[str, str]], kind: str, whole_words: bool
) -> list[int]:
    ranks = {merge: rank for rank, merge in enumerate(merges)}
    ids: list[int] = []
    for word in words_of(text, EXPRESSIONS[kind]):
        pieces = [_LETTERS[byte] for byte in word.encode()]
        if whole_words and "".join(pieces) in vocab:
            pieces = ["".join(pieces)]
        while pairs := [(ranks[pair], i) for i, pair in enumerate(itertools.pairwise(pieces)) if pair in ranks]:
            _, i = min(pairs)
            pieces[i : i + 2] = [pieces[i] + pieces[i + 1]]
        ids += [vocab[piece] for piece in pieces]
    return ids


def sentencepiece_ids(text: str, vocab: Mapping[str, int], scores: Sequence[float], prefix: bool = True) -> list[int]:
    if not text:
        return []
    pieces = [*((" " if prefix else "") + text).replace(" ", "▁")]
    while True:
        joined = [(-scores[vocab[a + b]], i) for i, (a, b) in enumerate(itertools.pairwise(pieces)) if a + b in vocab]
        if not joined:
            break
        _, i = min(joined)
        pieces[i : i + 2] = [pieces[i] + pieces[i + 1]]
    return [
        token
        for piece in pieces
        for token in ([vocab[piece]] if piece in vocab else [vocab[f"<0x{byte:02X}>"] for byte in piece.encode()])
    ]
