"""Tokenizers in every form: read as transformers reads them, or the reason why not; the model opens for ids."""

import base64
import inspect
import json
import shutil
from pathlib import Path

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer
from transformers.convert_slow_tokenizer import TikTokenConverter, bytes_to_unicode

from landed_jax.checkpoints.bundle import bundled_folder
from landed_jax.checkpoints.hf import tokenizer
from landed_jax.checkpoints.hf.tokenizer import open_vocabulary
from landed_jax.checkpoints.notes import Notes
from landed_jax.errors import LandedError, LandedWarning
from landed_jax.loading import convert, load
from tests.checkpoints import CONFIG, make_tensors, write_checkpoint

# Those without which mistral-common reads no file.
SPECIAL = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]"]
SPECIAL += ["[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]", "[IMG_END]", "[PREFIX]", "[MIDDLE]"]
SPECIAL += ["[SUFFIX]"]


def tekken() -> dict:
    """A vocabulary in Mistral's own format: all bytes, and the pieces of " Rome"."""
    tokens = [bytes([i]) for i in range(256)] + [b" R", b"om", b" Rom", b" Rome"]
    sizes = {"num_vocab_tokens": len(tokens), "default_num_special_tokens": len(SPECIAL), "version": "v3"}
    texts = [token.decode("utf-8", "replace") for token in tokens]
    named = [{"rank": i, "token_str": name, "is_control": True} for i, name in enumerate(SPECIAL)]
    return {
        "config": {"pattern": r"\s*\p{L}+|\p{N}|\s+", "default_vocab_size": len(tokens) + len(SPECIAL), **sizes},
        "vocab": [
            {"rank": i, "token_bytes": base64.b64encode(token).decode(), "token_str": text}
            for i, (token, text) in enumerate(zip(tokens, texts, strict=True))
        ],
        "special_tokens": named,
    }


def folder_with(path: Path, family: str, **files: object) -> Path:
    """A model's folder with these files of its tokenizer, text or JSON."""
    path.mkdir()
    sizes = {"hidden_size": 16, "num_attention_heads": 4, "vocab_size": 300}
    (path / "config.json").write_text(json.dumps({"model_type": family, **sizes}))
    for name, content in files.items():
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        (path / name.replace("__", ".")).write_bytes(data)
    return path


def reason(folder: Path) -> str:
    vocabulary, why = open_vocabulary(folder, Notes())
    assert vocabulary is None
    return why


SETTINGS = json.loads((bundled_folder() / "tokenizer_config.json").read_text())
PLAIN = (bundled_folder() / "tokenizer.json").read_bytes()


@pytest.mark.parametrize("family", ["mistral", "llama"])
@pytest.mark.parametrize("kind", [None, "MistralCommonTokenizer", "MistralCommonBackend"])
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside"])
def test_tekken_is_read_as_transformers_reads_it(tmp_path: Path, family: str, kind: str | None, beside: bool) -> None:
    files = {"tokenizer__json": PLAIN} if beside else {}
    folder = folder_with(tmp_path / "m", family, tekken__json=tekken(), **files)
    if kind is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": kind}))
    notes = Notes()
    vocabulary, why = open_vocabulary(folder, notes)
    try:
        theirs = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except ImportError as error:
        assert "mistral-common" in str(error)
        assert why.endswith("cannot be read: it needs the package mistral-common (pip install mistral-common).")
        return
    assert vocabulary is not None
    assert vocabulary.encode("in Rome 12") == theirs("in Rome 12")["input_ids"]
    if not beside:
        assert vocabulary.token_id(" Rome") == len(SPECIAL) + 259
        assert vocabulary.text(len(SPECIAL) + 259) == " Rome"
        # Where transformers puts no <s> before a prompt, and mistral-common would, that is said.
        assert (notes.texts == []) == (theirs.bos_token_id is not None)


def test_tekken_is_copied_and_downloaded(tmp_path: Path, monkeypatch) -> None:
    import huggingface_hub
    from huggingface_hub.utils import filter_repo_objects

    from landed_jax.checkpoints.hf.hub import resolve

    _, tensors = make_tensors()
    folder = write_checkpoint(tmp_path / "m", tensors)
    (folder / "tekken.json").write_text(json.dumps(tekken()))
    with pytest.warns(LandedWarning, match=r"made from tekken\.json"):
        before = load(folder).vocabulary
    convert(folder, tmp_path / "native")
    with pytest.warns(LandedWarning, match=r"made from tekken\.json"):
        after = load(tmp_path / "native").vocabulary
    assert after.encode("in Rome") == before.encode("in Rome")
    asked = []
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda _, allow_patterns, **__: asked.extend(allow_patterns) or folder
    )
    resolve("owner/name")
    assert list(filter_repo_objects(["tekken.json", "a.py"], allow_patterns=asked)) == ["tekken.json"]


@pytest.mark.parametrize(
    ("content", "packages"),
    [(b"\n\x10\n\x05<unk>", "sentencepiece and protobuf"), (b"IQ== 0\nIg== 1\n", "tiktoken")],
    ids=["sentencepiece", "tiktoken"],
)
def test_tokenizer_model_alone_names_the_right_package(
    tmp_path: Path, content: bytes, packages: str, monkeypatch
) -> None:
    monkeypatch.setattr(tokenizer, "_is_installed", lambda _: False)
    said = reason(folder_with(tmp_path / "m", "llama", tokenizer__model=content))
    assert f"is tokenizer.model alone, which is read with {packages}: pip install" in said


@pytest.mark.parametrize("named", [{"AutoTokenizer": ["theirs.Fast", None]}, ["theirs.Slow", "theirs.Fast"]])
@pytest.mark.parametrize("kind", ["PreTrainedTokenizerFast", "LlamaTokenizer"])
def test_a_tokenizer_with_its_own_code_is_refused_and_not_replaced(tmp_path: Path, named: object, kind: str) -> None:
    settings = {**SETTINGS, "tokenizer_class": kind, "auto_map": named}
    folder = folder_with(tmp_path / "m", "llama", tokenizer__json=PLAIN, tokenizer_config__json=settings)
    (folder / "theirs.py").write_text("raise SystemExit('executed')")
    assert "which is never executed" in reason(folder)
    settings["auto_map"] = {}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    assert open_vocabulary(folder, Notes())[0] is not None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "tokenizer.json is an empty file"),
        (b"<html>", "tokenizer.json is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "tokenizer.json is a git-lfs pointer"),
    ],
)
def test_what_is_no_tokenizer_file(tmp_path: Path, content: bytes, said: str) -> None:
    files = {"tokenizer__json": content, "tokenizer_config__json": SETTINGS}
    assert said in reason(folder_with(tmp_path / "m", "llama", **files))


def test_a_model_opens_for_ids_without_a_tokenizer_and_says_why_of_text(tmp_path: Path) -> None:
    _, tensors = make_tensors()
    folder = write_checkpoint(tmp_path / "m", tensors)
    for content, said in ((None, "There are no tokenizer files in"), (b"{}", "cannot be read")):
        if content is not None:
            (folder / "tokenizer.json").write_bytes(content)
        model = load(folder)
        assert model.vocabulary is None and said in model.no_vocabulary
        assert model.trace([[1, 2, 3]], record=()).logits.shape == (1, 3, CONFIG.vocab_size)
        with pytest.raises(LandedError, match=said) as caught:
            model.trace("some text")
        assert str(caught.value).endswith("Pass token ids in place of text.")


@pytest.fixture(scope="module")
def old_mistral(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A large vocabulary that splits text as another model's does."""
    vocabulary = {letter: i for i, letter in enumerate(bytes_to_unicode().values())}
    vocabulary |= {f"<{i}>": i for i in range(256, 100_001)}
    made = Tokenizer(models.BPE(vocabulary, []))
    others = inspect.signature(TikTokenConverter.__init__).parameters["pattern"].default
    split = pre_tokenizers.Split(Regex(others), "isolated")
    made.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    made.decoder = decoders.ByteLevel()
    folder = folder_with(tmp_path_factory.mktemp("old") / "m", "mistral")
    (folder / "tokenizer.json").write_text(made.to_str())
    return folder


@pytest.mark.parametrize(("switch", "warned"), [(None, True), (True, False), (False, False)])
def test_old_mistrals_that_split_as_others_do(old_mistral: Path, switch: bool | None, warned: bool) -> None:
    settings = {"tokenizer_class": "PreTrainedTokenizerFast"} | (
        {} if switch is None else {"fix_mistral_regex": switch}
    )
    (old_mistral / "tokenizer_config.json").write_text(json.dumps(settings))
    notes = Notes()
    vocabulary, _ = open_vocabulary(old_mistral, notes)
    assert vocabulary is not None
    assert bool(notes.texts) == warned
    assert all('"fix_mistral_regex": true' in text for text in notes.texts)
    pieces = [piece for piece, _ in vocabulary.tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str("HelloWorld")]
    assert pieces == (["Hello", "World"] if switch else ["HelloWorld"])


def test_another_family_may_split_so(old_mistral: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(old_mistral, tmp_path / "m"))
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    notes = Notes()
    assert open_vocabulary(folder, notes)[0] is not None
    assert notes.texts == []
