"""A tokenizer that fails as it is read or used is one sentence, whatever it raises."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from landed_jax.checkpoints.hf.tokenizer import load_vocabulary
from landed_jax.errors import LandedError
from landed_jax.tokens import Tokens
from landed_jax.vocabulary import Vocabulary
from tests.fulldisk import ROOT
from tests.vocabularies import byte_level, sentencepiece_like


class Panic(BaseException):
    """As pyo3's PanicException, which is no Exception."""


class Panics:
    """A tokenizer whose every use panics."""

    unk_token_id = 0
    is_fast = True

    def _panic(self, *_: object, **__: object) -> Any:
        raise Panic("index out of bounds\nnote: run with RUST_BACKTRACE=1")

    __call__ = decode = convert_ids_to_tokens = get_vocab = _panic


@pytest.mark.quick
@pytest.mark.parametrize(
    "use",
    [
        lambda v: v.encode("a"),
        lambda v: v.unknown("a"),
        lambda v: v.decode([1]),
        lambda v: v.text(1),
        lambda v: v.token_id("a"),
    ],
)
def test_every_use_that_panics_is_one_sentence(use: Callable[[Vocabulary], Any]) -> None:
    with pytest.raises(LandedError, match=r"^The tokenizer cannot be used: index out of bounds \(Panic\)$"):
        use(Vocabulary(Panics()))


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError, LandedError("as it was said")])
def test_what_is_no_fault_of_the_tokenizer_goes_on(error: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> Any:
        raise error

    monkeypatch.setattr(Panics, "__call__", fail)
    with pytest.raises(error if isinstance(error, type) else LandedError) as caught:
        Vocabulary(Panics()).encode("a")
    assert "cannot be used" not in str(caught.value)


NO_IDS = ([2**31], [1, 2**40], [2**64], [-(2**31) - 1], [1.5], ["a"], [[1]], [[1], [1, 2]], [True], [None])


@pytest.mark.quick
@pytest.mark.parametrize("ids", NO_IDS, ids=str)
def test_ids_that_are_no_ids_are_refused(ids: Any) -> None:
    with pytest.raises(LandedError, match="Token ids are whole numbers of 32 bits, not "):
        Tokens.from_lists([[1, 2], ids])


def without_unknown_token() -> PreTrainedTokenizerFast:
    """A word that is none of its own is an error of the model's, as it has no token for unknown words."""
    tokenizer = Tokenizer(models.WordLevel({"a": 0}, unk_token="<missing>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def test_a_missing_unknown_token_is_met_by_a_prompt(tmp_path: Path) -> None:
    without_unknown_token().save_pretrained(tmp_path)
    vocabulary = load_vocabulary(tmp_path)
    assert vocabulary is not None and vocabulary.encode("a") == [0]
    for use in (vocabulary.encode, vocabulary.token_id):
        with pytest.raises(LandedError, match=f"The tokenizer in {tmp_path} cannot be used: .*Missing"):
            use("other words")


def _merges(values: dict[str, Any]) -> None:
    values["model"]["merges"] = [["no", "such"]]


def _vocabulary(values: dict[str, Any]) -> None:
    values["model"]["vocab"] = {"a": -1}


def _kind(values: dict[str, Any]) -> None:
    values["model"]["type"] = "Unigram"


@pytest.mark.parametrize("damage", [_merges, _vocabulary, _kind])
@pytest.mark.parametrize("make", [byte_level, sentencepiece_like])
def test_a_damaged_tokenizer_is_one_sentence(
    tmp_path: Path, damage: Callable[[dict[str, Any]], None], make: Callable[[], PreTrainedTokenizerFast]
) -> None:
    make().save_pretrained(tmp_path)
    values = json.loads((tmp_path / "tokenizer.json").read_text())
    damage(values)
    (tmp_path / "tokenizer.json").write_text(json.dumps(values))
    with pytest.raises(LandedError, match=f"The tokenizer in {tmp_path} cannot be read: ") as caught:
        load_vocabulary(tmp_path)
    assert "\n" not in str(caught.value)


def _charsmap(size: int) -> Callable[[dict[str, Any]], None]:
    text = base64.b64encode(size.to_bytes(4, "little") + bytes(12)).decode()

    def put(values: dict[str, Any]) -> None:
        normalizers = [{"type": "Precompiled", "precompiled_charsmap": text}]
        values["normalizer"] = {"type": "Sequence", "normalizers": normalizers}

    return put


@pytest.mark.parametrize("escaped", [False, True])
@pytest.mark.parametrize("size", [13, 2**31, 2**32 - 16])
def test_a_character_map_is_no_larger_than_its_file(tmp_path: Path, size: int, escaped: bool) -> None:
    sentencepiece_like().save_pretrained(tmp_path)
    values = json.loads((tmp_path / "tokenizer.json").read_text())
    _charsmap(size)(values)
    text = json.dumps(values)
    text = text.replace("precompiled", "pr\\u0065compil\\u0065d").replace("Precompiled", "\\u0050r\\u0065compiled")
    (tmp_path / "tokenizer.json").write_text(text if escaped else json.dumps(values))
    with pytest.raises(LandedError, match="is too short"):
        load_vocabulary(tmp_path)


@pytest.mark.parametrize("part", ["normalizer", "decoder"])
def test_replacements_do_not_multiply_a_text(tmp_path: Path, part: str) -> None:
    byte_level().save_pretrained(tmp_path)
    values = json.loads((tmp_path / "tokenizer.json").read_text())
    steps = [{"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 65}] * 2
    values[part] = {"type": "Sequence", f"{part}s": steps}
    (tmp_path / "tokenizer.json").write_text(json.dumps(values))
    with pytest.raises(LandedError, match="more than 4,096 characters of one"):
        load_vocabulary(tmp_path)


def test_lists_by_the_million_are_no_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("[" + "[]," * 4_000_000 + "[]]")
    with pytest.raises(LandedError, match="lists and objects, which no tokenizer has"):
        load_vocabulary(tmp_path)


@pytest.mark.parametrize("length", ["long", [5], {}, "10"])
def test_a_length_that_is_no_number(tmp_path: Path, length: Any) -> None:
    byte_level().save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**settings, "model_max_length": length}))
    with pytest.raises(LandedError, match=f"The tokenizer in {tmp_path} cannot be"):
        load_vocabulary(tmp_path)


def test_what_a_tokenizer_prints_is_not_on_standard_output(tmp_path: Path) -> None:
    sentencepiece_like().save_pretrained(tmp_path)
    settings = {"bos_token": {"content": "<s>", "odd": 1}, "unk_token": {"content": "<unk>", "odd": 1}}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(settings))
    code = (
        "import sys; from pathlib import Path; from landed_jax.checkpoints.hf.tokenizer import load_vocabulary\n"
        "print('{'); load_vocabulary(Path(sys.argv[1])); print('}')"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "{\n}\n"
