"""The tokenizer of a checkpoint folder, loaded without executing code from the folder."""

import contextlib
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from landed_jax.checkpoints.hf.tokenizer_sizes import LARGEST_TOKENIZER_FILE, check_sizes
from landed_jax.checkpoints.notes import Notes
from landed_jax.errors import LandedError, shown
from landed_jax.files.json_object import read_json_object
from landed_jax.files.kinds import is_ordinary
from landed_jax.files.wrong_content import wrong_content
from landed_jax.tokenizer_errors import prints_go_to_stderr, tokenizer_errors
from landed_jax.vocabulary import Vocabulary

_VOCABULARY_FILES = ("tokenizer.json", "tekken.json", "tokenizer.model", "vocab.json")
_SETTINGS = "tokenizer_config.json"
TOKENIZER_FILES = (
    *_VOCABULARY_FILES,
    "merges.txt",
    _SETTINGS,
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)
# The packages that transformers reads a vocabulary with, by the names of their modules.
_PACKAGES = {
    "sentencepiece": "sentencepiece",
    "google.protobuf": "protobuf",
    "tiktoken": "tiktoken",
    "mistral_common": "mistral-common",
}
_SWITCH = "fix_mistral_regex"  # of transformers
_OLD_MISTRAL_SIZE = 100_000  # tokens; smaller vocabularies of Mistral are SentencePiece's, without the expression


def open_vocabulary(folder: Path, notes: Notes) -> tuple[Vocabulary | None, str]:
    """The tokenizer in `folder`; or None, and the sentence that says why there is none."""
    try:
        vocabulary = load_vocabulary(folder)
    except LandedError as error:
        return None, str(error)
    if vocabulary is None:
        return None, f"There are no tokenizer files in {folder}."
    alone = (folder / "tekken.json").exists() and not (folder / "tokenizer.json").exists()
    if alone and vocabulary.tokenizer.bos_token_id is None:
        notes.warn(
            f"the tokenizer in {folder} was made from tekken.json alone, as transformers makes it without the package "
            "mistral-common: it puts no <s> before a prompt, where that package does"
        )
    if _splits_as_old_mistrals(folder, vocabulary.tokenizer):
        notes.warn(
            f"the tokenizer in {folder} splits text by another model's regular expression, as early folders of Mistral "
            f'do, so its ids may not be those of the training: put "{_SWITCH}": true, or false to keep it so, into '
            f"{_SETTINGS}"
        )
    return vocabulary, ""


def load_vocabulary(folder: Path) -> Vocabulary | None:
    """The tokenizer in `folder`, or None where it has none.

    Raises:
        LandedError: if it cannot be read.
    """
    there = {name for name in (*TOKENIZER_FILES, "config.json") if is_ordinary(folder / name, LARGEST_TOKENIZER_FILE)}
    if not there & set(_VOCABULARY_FILES):
        return None
    _refuse_code(folder)
    _require_packages(folder)
    what = f"The tokenizer in {folder} cannot be read"
    if "tokenizer.json" in there:
        with tokenizer_errors(what):
            check_sizes(folder / "tokenizer.json")
    # Without torch, transformers prints on import that models are not available; only its tokenizers are used here.
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    if _names_the_plain_class(folder):
        from transformers import PreTrainedTokenizerFast as Tokenizer
    else:
        from transformers import AutoTokenizer as Tokenizer

    try:
        with tokenizer_errors(what):
            with prints_go_to_stderr(), _quiet():
                tokenizer = Tokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            vocabulary = Vocabulary(tokenizer, folder)
            vocabulary.unknown("a")  # some faulty settings raise only at use
            vocabulary.text(vocabulary.encode("a")[-1])
            return vocabulary
    except LandedError as error:
        if (reason := _reason(folder, error.__cause__)) is None:
            raise
        raise LandedError(f"{what}: {reason}") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' warnings on standard error; what matters of them is said in our own words."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)


def _reason(folder: Path, error: BaseException | None) -> str | None:
    """Why reading failed, where a file's content or a package that is not there explains it."""
    for name in _VOCABULARY_FILES:
        if (folder / name).exists() and (instead := wrong_content(folder / name)) is not None:
            return f"{name} is {instead}."
    for module, package in _PACKAGES.items():
        if isinstance(error, ImportError) and package in str(error) and not _is_installed(module):
            return f"it needs the package {package} (pip install {package})."
    return None


def _refuse_code(folder: Path) -> None:
    """Refuse a tokenizer with code of its own, in place of which transformers may choose another class in silence."""
    if not (folder / _SETTINGS).is_file():
        return
    named = read_json_object(folder / _SETTINGS).get("auto_map")
    if named:
        raise LandedError(
            f"The tokenizer in {folder} is code that came with it (auto_map = {shown(named)}), which is never executed."
        )


def _require_packages(folder: Path) -> None:
    """Name the package that `tokenizer.model` needs; transformers would name the one that it tries last."""
    if any((folder / name).exists() for name in ("tokenizer.json", "tekken.json")):
        return
    path = folder / "tokenizer.model"
    if not path.exists():
        return
    with path.open("rb") as file:
        is_sentencepiece = file.read(1) == b"\n"  # the first field of its message; tiktoken's are lines of text
    modules = ("sentencepiece", "google.protobuf") if is_sentencepiece else ("tiktoken",)
    lacking = [_PACKAGES[module] for module in modules if not _is_installed(module)]
    if lacking:
        raise LandedError(
            f"The tokenizer in {folder} is {path.name} alone, which is read with {' and '.join(lacking)}: pip install "
            f"{' '.join(lacking)}."
        )


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # its parent is not there
        return False


def _splits_as_old_mistrals(folder: Path, tokenizer: Any) -> bool:
    """Whether a large vocabulary of Mistral's does not split where a word changes to capitals, as its training did.

    References:
        https://huggingface.co/mistralai/Mistral-Small-3.1-24B-Instruct-2503/discussions/84
    """
    splitter = getattr(getattr(tokenizer, "backend_tokenizer", None), "pre_tokenizer", None)
    if splitter is None or len(tokenizer) <= _OLD_MISTRAL_SIZE or tokenizer.init_kwargs.get(_SWITCH) is False:
        return False
    config = folder / "config.json"
    if not config.is_file() or read_json_object(config).get("model_type") != "mistral":
        return False
    return len(splitter.pre_tokenize_str("HelloWorld")) == 1


def _names_the_plain_class(folder: Path) -> bool:
    """Whether the folder's settings name the class that needs `tokenizer.json` alone, as Llama 3's do.

    `AutoTokenizer` would choose the same class, but imports torch where it is installed, which takes longer than all
    other imports of a run. In all other cases `AutoTokenizer` chooses.
    """
    if not (folder / "tokenizer.json").is_file() or (folder / "tekken.json").exists():
        return False
    try:
        settings = read_json_object(folder / _SETTINGS)
    except LandedError:
        return False
    return settings.get("tokenizer_class") in ("PreTrainedTokenizerFast", "TokenizersBackend")
