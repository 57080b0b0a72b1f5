"""The tokenizer from a file's metadata, against plain Python; or why there is none, and the model opens for ids."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

import landed_jax as landed
from landed_jax.checkpoints.gguf.splitting import SPLITTINGS
from landed_jax.checkpoints.gguf.tokenizer import load_gguf_vocabulary, open_gguf_vocabulary
from landed_jax.checkpoints.hf.table import to_hf
from landed_jax.checkpoints.hf.tokenizer import load_vocabulary
from landed_jax.errors import LandedError
from landed_jax.loading import convert
from landed_jax.nn.config import ModelConfig
from landed_jax.vocabulary import Vocabulary
from tests.checkpoints import hf_config
from tests.gguf.files import write_gguf
from tests.gguf.merging import EXPRESSIONS, byte_level_ids, sentencepiece_ids
from tests.models import random_params
from tests.vocabularies import sentencepiece_like

TEXT = [path.read_text() for path in sorted(Path(__file__).parents[2].glob("*.md"))]
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
SENTENCES = [
    "",
    "The capital of France is",
    "don't I'LL we've HE'D they're 'tis",
    "a  b   c\t\td\n\n e \r\n f  ",
    "1 12 123 1234 12345.678 ½ ² Ⅷ 3rd",
    "naïve café ÉCOLE straße İstanbul ǅ",
    "日本語のテキスト 한국어 العربية हिन्दी ไทย",
    "🙂👩‍👩‍👧 e\u0301 ﬁ \u200b\u00a0\u3000x",
    "camelCase HTTPServer snake_case x1y2 /usr/bin //\n",
    "!?... -- (a) [b] {c} <d> «e» “f”",
    "<|im_start|>user\nhello<|im_end|>\n",
    "<|im_start|> <|im_end|><|endoftext|>a",
]
texts = st.text(
    st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from([*" \n\t'0123456789aAbBsStT"])), max_size=40
)


def model(tmp_path: Path, fields: dict[str, Any], name: str = "llama") -> Path:
    """A tiny model's file with these fields of its tokenizer."""
    tokens = fields.get("tokenizer.ggml.tokens")
    size = max(len(tokens), 8) if isinstance(tokens, list) else 8
    config = ModelConfig(
        vocab_size=size, d_model=8, n_layers=1, n_heads=2, n_kv_heads=2, head_dim=4, d_ff=8, max_positions=512
    )
    tensors = dict(to_hf(random_params(config), config))
    values = {**hf_config(config), "rms_norm_eps": 1e-6, "model_type": name}
    return write_gguf(tmp_path / "model.gguf", values, tensors, more={k: v for k, v in fields.items() if v is not None})


def trained() -> tuple[list[str], list[tuple[str, str]]]:
    """Tokens and merges of byte-level BPE, learnt from this project's pages."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=900, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    vocab = tokenizer.get_vocab()
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return sorted(vocab, key=lambda token: vocab[token]), [tuple(merge) for merge in merges]


TOKENS, MERGES = trained()
VOCAB = {token: number for number, token in enumerate(TOKENS)}


def byte_level(pre: str | None, **more: Any) -> dict[str, Any]:
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": TOKENS,
        "tokenizer.ggml.token_type": [3 if token in SPECIAL else 1 for token in TOKENS],
        "tokenizer.ggml.merges": [" ".join(merge) for merge in MERGES],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        **{f"tokenizer.ggml.{name}": value for name, value in more.items()},
    }


def expected_ids(text: str, pre: str) -> list[int]:
    """Special tokens first, and what is between them."""
    ids: list[int] = []
    while text:
        found = [(text.find(token), token) for token in SPECIAL if token in text]
        at, token = min(found) if found else (len(text), "")
        plain = unicodedata.normalize("NFC", text[:at]) if pre == "qwen2" else text[:at]
        ids += byte_level_ids(plain, VOCAB, MERGES, pre, SPLITTINGS[pre].whole_words)
        ids += [VOCAB[token]] if token else []
        text = text[at + len(token) :]
    return ids


@pytest.fixture(scope="module", params=sorted(EXPRESSIONS))
def pre(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def vocabulary(pre: str, tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    return load_gguf_vocabulary(model(tmp_path_factory.mktemp("model"), byte_level(pre, add_bos_token=False)))


@pytest.mark.quick
@pytest.mark.parametrize("text", SENTENCES)
def test_byte_level(vocabulary: Vocabulary, pre: str, text: str) -> None:
    ids = vocabulary.encode(text)
    assert ids == expected_ids(text, pre)
    if pre != "qwen2":
        assert vocabulary.decode(ids) == text


@given(text=texts)
def test_byte_level_on_any_text(vocabulary: Vocabulary, pre: str, text: str) -> None:
    assert vocabulary.encode(text) == expected_ids(text, pre)


@pytest.mark.parametrize("pre", SPLITTINGS)
def test_every_known_splitting_makes_a_tokenizer(tmp_path: Path, pre: str) -> None:
    vocabulary = load_gguf_vocabulary(model(tmp_path, byte_level(pre)))
    first = vocabulary.encode("The city")[0]
    assert (first == 1) == SPLITTINGS[pre].adds_bos  # what llama.cpp does where the file does not say it


def sentencepiece(architecture: str = "llama", **more: Any) -> tuple[dict[str, Any], dict[str, int], list[float]]:
    """SentencePiece's metadata, the vocabulary, and the scores."""
    learnt = sentencepiece_like().get_vocab()
    tokens = sorted(learnt, key=lambda token: learnt[token])
    scores = [-float(number) for number in range(len(tokens))]
    kinds = [2, 3, 3, *(6 if token.startswith("<0x") else 1 for token in tokens[3:])]
    fields = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [0.0] * len(tokens) if architecture.startswith("gemma") else scores,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        **{f"tokenizer.ggml.{name}": value for name, value in more.items()},
    }
    return fields, learnt, scores


@pytest.mark.parametrize("architecture", ["llama", "gemma"])
@pytest.mark.parametrize("prefix", [None, True, False])
@pytest.mark.parametrize("text", ["Rome", "The city of Rome, a city.", " Rome  café", "  日本\n", "x<s> Rome</s>"])
def test_sentencepiece(tmp_path: Path, architecture: str, prefix: bool | None, text: str) -> None:
    fields, vocab, scores = sentencepiece(architecture, add_space_prefix=prefix)
    vocabulary = load_gguf_vocabulary(model(tmp_path, fields, architecture))
    expected = [1]
    for i, part in enumerate(text.replace("</s>", "<s>").split("<s>")):
        expected += [i] if i else []  # <s> and </s> are 1 and 2
        expected += sentencepiece_ids(part, vocab, scores, prefix is not False)
    assert vocabulary.encode(text) == expected
    assert vocabulary.encode(text, add_special_tokens=False) == expected[1:]
    assert vocabulary.text(vocab["▁Rome"]) == " Rome"


def test_a_trained_models_sentencepiece(tmp_path: Path, stories: Path) -> None:
    known = Tokenizer.from_file(str(stories / "tokenizer.json"))
    vocab = known.get_vocab()
    tokens = sorted(vocab, key=lambda token: vocab[token])
    fields, _, _ = sentencepiece(
        tokens=tokens,
        scores=[-float(number) for number in range(len(tokens))],
        token_type=[2, 3, 3, *(6 if token.startswith("<0x") else 1 for token in tokens[3:])],
    )
    vocabulary, theirs = load_gguf_vocabulary(model(tmp_path, fields)), load_vocabulary(stories)
    assert theirs is not None
    for text in SENTENCES:
        assert vocabulary.encode(text) == theirs.encode(text)


def test_settings_and_template(tmp_path: Path) -> None:
    fields = byte_level("gpt-2", add_bos_token=True, add_eos_token=True, padding_token_id=2)
    fields["tokenizer.chat_template"] = "{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}"
    vocabulary = load_gguf_vocabulary(model(tmp_path, fields))
    ids = vocabulary.encode("The city")
    assert (ids[0], ids[-1]) == (1, 2)
    assert vocabulary.chat("hello") == "<|im_start|>hello<|im_end|>"
    assert vocabulary.tokenizer.pad_token == "<|im_end|>"


@pytest.mark.parametrize("hf", [False, True], ids=["native", "hf"])
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_a_converted_folder_has_the_same_tokenizer(tmp_path: Path, kind: str, hf: bool) -> None:
    fields = byte_level("llama-bpe") if kind == "gpt2" else sentencepiece()[0]
    fields["tokenizer.chat_template"] = "{{ messages[0]['content'] }}!"
    file = model(tmp_path, fields)
    convert(file, tmp_path / "new", hf=hf)
    opened, again = landed.load(file), landed.load(tmp_path / "new")
    assert opened.config == again.config
    assert opened.vocabulary is not None and again.vocabulary is not None
    for text in SENTENCES:
        assert again.vocabulary.encode(text) == opened.vocabulary.encode(text)
    assert again.vocabulary.chat("hello") == "hello!"
    opened.save(tmp_path / "saved")
    assert (tmp_path / "saved" / "tokenizer.json").exists() and (tmp_path / "saved" / "config.json").exists()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "it is of the kind None, and these are read: gpt2, llama"),
        ({"tokenizer.ggml.model": "t5"}, "it is of the kind 't5'"),
        ({"tokenizer.ggml.model": ["llama"]}, "it is of the kind ['llama']"),
        ({**sentencepiece(tokens=["a" * 30_000])[0]}, "its tokens are longer than any tokenizer's"),
        ({"tokenizer.ggml.model": "gpt2"}, "it has no list of tokens"),
        ({**byte_level("a new one")}, "it cuts text into words in the way 'a new one', and these are known: gpt-2"),
        ({**byte_level(None)}, "it cuts text into words in the way None"),
        ({**byte_level("gpt-2", bos_token_id=10**6)}, "tokenizer.ggml.bos_token_id is 1000000, and there are"),
        ({**byte_level("gpt-2", tokens=["a", "a"])}, "the same text stands for two tokens"),
        ({**byte_level("gpt-2", token_type=[1, 2])}, "tokenizer.ggml.token_type has 2 values for"),
        ({**byte_level("gpt-2", merges=["a b c"])}, "'a b c' is no merge of two"),
        ({**byte_level("gpt-2", merges=["日 本"])}, "cannot be read"),
        ({**sentencepiece(scores=None)[0]}, "it has no tokenizer.ggml.scores"),
        ({**sentencepiece(scores=["a"])[0]}, "tokenizer.ggml.scores is"),
    ],
)
def test_the_model_opens_for_ids(tmp_path: Path, fields: dict[str, Any], said: str) -> None:
    file = model(tmp_path, fields)
    vocabulary, why = open_gguf_vocabulary(file)
    assert vocabulary is None and said in why and why.startswith("The tokenizer in ") and "\n" not in why
    opened = landed.load(file)
    assert opened.no_vocabulary == why
    assert opened.trace([[1, 2]], at=-1).logits.shape[1] == 1
    with pytest.raises(LandedError, match="Pass token ids in place of text"):
        opened.encode("a")
