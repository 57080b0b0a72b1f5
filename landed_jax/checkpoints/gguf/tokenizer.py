"""The tokenizer in a GGUF file's metadata: byte-level BPE (GPT-2's way) or SentencePiece's BPE (Llama 2's way)."""

from pathlib import Path
from typing import Any

from landed_jax.checkpoints.gguf.header import Header, read_header
from landed_jax.checkpoints.gguf.splitting import SPLITTINGS
from landed_jax.errors import LandedError, shown
from landed_jax.tokenizer_errors import prints_go_to_stderr, tokenizer_errors
from landed_jax.vocabulary import Vocabulary

_UNKNOWN, _CONTROL, _OWN = 2, 3, 4  # tokenizer.ggml.token_type; _OWN are pieces that are never cut
_MOST_CUTS = 1 << 29  # characters, of all ways to cut all tokens in two; 16 times those of the largest vocabulary
_SPACE = "▁"  # as SentencePiece writes it
_NAMED = {
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "unk_token": "unknown_token_id",
    "pad_token": "padding_token_id",
}
# In these the merges come in the order of the tokens, and the scores are not theirs.
_MERGED_IN_ORDER = ("gemma", "gemma2", "gemma3")


def open_gguf_vocabulary(file: Path) -> tuple[Vocabulary | None, str]:
    """The tokenizer of a GGUF file; or None, and the sentence that says why there is none."""
    try:
        return load_gguf_vocabulary(file), ""
    except LandedError as error:
        return None, str(error)


def load_gguf_vocabulary(file: Path) -> Vocabulary:
    """The tokenizer of a GGUF file.

    Raises:
        LandedError: if it has none, one of another kind, or a damaged one.
    """
    header = read_header(file)
    what = f"The tokenizer in {file} cannot be read"
    kind = _field(header, "model")
    if not isinstance(kind, str) or kind not in _BUILDERS:
        known = ", ".join(_BUILDERS)
        raise LandedError(f"{what}: it is of the kind {shown(kind)}, and these are read: {known}.")
    if problem := _problem(header):
        raise LandedError(f"{what}: {problem}.")
    with tokenizer_errors(what), prints_go_to_stderr():
        from transformers import PreTrainedTokenizerFast

        tokens = _field(header, "tokens")
        named = {name: tokens[token] for name, key in _NAMED.items() if (token := _field(header, key)) is not None}
        template = header.fields.get("tokenizer.chat_template")
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=_BUILDERS[kind](header),
            clean_up_tokenization_spaces=False,
            **named,
            **({"chat_template": template} if isinstance(template, str) else {}),
        )
        vocabulary = Vocabulary(tokenizer, file)
        vocabulary.text(vocabulary.encode("a")[-1])  # some faults show only at use
        return vocabulary


def _field(header: Header, name: str) -> Any:
    return header.fields.get(f"tokenizer.ggml.{name}")


def _problem(header: Header) -> str | None:
    """What is wrong with the lists and ids of the metadata."""
    tokens = _field(header, "tokens")
    if not isinstance(tokens, list) or not tokens or not all(isinstance(token, str) for token in tokens):
        return "it has no list of tokens"
    if len(set(tokens)) != len(tokens):
        return "the same text stands for two tokens"
    if sum(len(token) ** 2 for token in tokens) > _MOST_CUTS:
        return "its tokens are longer than any tokenizer's"
    for name, kind in (("token_type", int), ("scores", float), ("merges", str)):
        values = _field(header, name)
        if values is None:
            continue
        if not isinstance(values, list) or not all(isinstance(value, kind) for value in values):
            return f"tokenizer.ggml.{name} is {shown(values)}"
        if name != "merges" and len(values) != len(tokens):
            return f"tokenizer.ggml.{name} has {len(values):,} values for {len(tokens):,} tokens"
    for name in _NAMED.values():
        token = _field(header, name)
        if token is not None and (type(token) is not int or not 0 <= token < len(tokens)):
            return f"tokenizer.ggml.{name} is {shown(token)}, and there are {len(tokens):,} tokens"
    return None


def _byte_level(header: Header) -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    name = _field(header, "pre")
    if not isinstance(name, str) or name not in SPLITTINGS:
        raise LandedError(
            f"The tokenizer in {header.file} cannot be read: it cuts text into words in the way {shown(name)}, and "
            f"these are known: {', '.join(SPLITTINGS)}."
        )
    splitting, tokens = SPLITTINGS[name], _field(header, "tokens")
    merges = [tuple(merge.split(" ")) for merge in _field(header, "merges") or []]
    if bad := next((merge for merge in merges if len(merge) != 2), None):
        raise LandedError(f"The tokenizer in {header.file} cannot be read: {shown(' '.join(bad))} is no merge of two.")
    vocab = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=splitting.whole_words))
    steps: list[Any] = [pre_tokenizers.Digits(individual_digits=True)] if splitting.single_digits else []
    if splitting.expression is not None:
        steps.append(pre_tokenizers.Split(Regex(splitting.expression), behavior="isolated"))
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=splitting.expression is None))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    if splitting.composed:
        tokenizer.normalizer = normalizers.NFC()
    _add_tokens(tokenizer, header, splitting.adds_bos)
    return tokenizer


def _sentencepiece(header: Header) -> Any:
    from tokenizers import Tokenizer, decoders, models, normalizers

    tokens = [_SPACE * len(token) if token.strip(" ") == "" else token for token in _field(header, "tokens")]
    vocab = {token: number for number, token in enumerate(tokens)}
    scores = _field(header, "scores")
    if scores is None:
        raise LandedError(f"The tokenizer in {header.file} cannot be read: it has no tokenizer.ggml.scores.")
    if header.fields.get("general.architecture") in _MERGED_IN_ORDER:
        scores = [-float(number) for number in range(len(tokens))]
    kinds = _field(header, "token_type") or []
    unknown = next((tokens[i] for i, kind in enumerate(kinds) if kind == _UNKNOWN), None)
    model = models.BPE(vocab=vocab, merges=_merges(vocab, scores), unk_token=unknown, fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(model)
    prefixed = _field(header, "add_space_prefix") is not False
    replace = normalizers.Replace(" ", _SPACE)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(_SPACE), replace]) if prefixed else replace
    steps: list[Any] = [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence([*steps, *([decoders.Strip(" ", 1, 0)] if prefixed else [])])
    _add_tokens(tokenizer, header, adds_bos=True)
    return tokenizer


def _merges(vocab: dict[str, int], scores: list[float]) -> list[tuple[str, str]]:
    """Every way to put a token together from two others, the best token first.

    SentencePiece has scores of the results in place of a list of merges.
    """
    found = [
        (-scores[number], -cut, (token[:cut], token[cut:]))
        for token, number in vocab.items()
        for cut in range(1, len(token))
        if token[:cut] in vocab and token[cut:] in vocab
    ]
    return [merge for _, _, merge in sorted(found)]


def _add_tokens(tokenizer: Any, header: Header, adds_bos: bool) -> None:
    """Tokens that are found in a text before it is cut, and those that are put around it."""
    from tokenizers import AddedToken, processors

    tokens, kinds = _field(header, "tokens"), _field(header, "token_type") or []
    for kind, special in ((_CONTROL, True), (_UNKNOWN, True), (_OWN, False)):
        whole = [AddedToken(tokens[i], normalized=False, special=special) for i, k in enumerate(kinds) if k == kind]
        whole = [token for token in whole if tokenizer.token_to_id(token.content) is not None]
        (tokenizer.add_special_tokens if special else tokenizer.add_tokens)(whole)
    bos, eos = _field(header, "bos_token_id"), _field(header, "eos_token_id")
    asked = {name: _field(header, f"add_{name}_token") for name in ("bos", "eos")}
    before = [tokens[bos]] if bos is not None and (adds_bos if asked["bos"] is None else asked["bos"]) else []
    after = [tokens[eos]] if eos is not None and asked["eos"] else []
    if before or after:
        ids = {token: tokenizer.token_to_id(token) for token in before + after}
        tokenizer.post_processor = processors.TemplateProcessing(
            single=[*before, "$A", *after],
            pair=[*before, "$A", *after, *(f"{token}:1" for token in before), "$B:1", *(f"{t}:1" for t in after)],
            special_tokens=list(ids.items()),
        )


_BUILDERS = {"gpt2": _byte_level, "llama": _sentencepiece}
