"""The tokenizer of a checkpoint folder, loaded without executing code from the folder."""

import os
from pathlib import Path

from landed_jax.checkpoints.hf.tokenizer_sizes import LARGEST_TOKENIZER_FILE, check_sizes
from landed_jax.errors import LandedError
from landed_jax.files.json_object import read_json_object
from landed_jax.files.kinds import is_ordinary
from landed_jax.tokenizer_errors import prints_go_to_stderr, tokenizer_errors
from landed_jax.vocabulary import Vocabulary

_VOCABULARY_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")
TOKENIZER_FILES = (
    *_VOCABULARY_FILES,
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)


def load_vocabulary(folder: Path) -> Vocabulary | None:
    """The tokenizer in `folder`, or None where it has none.

    Raises:
        LandedError: if it cannot be read.
    """
    there = {name for name in (*TOKENIZER_FILES, "config.json") if is_ordinary(folder / name, LARGEST_TOKENIZER_FILE)}
    if not there & set(_VOCABULARY_FILES):
        return None
    if "tokenizer.json" in there:
        with tokenizer_errors(f"The tokenizer in {folder} cannot be read"):
            check_sizes(folder / "tokenizer.json")
    # Without torch, transformers prints on import that models are not available; only its tokenizers are used here.
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    if _names_the_plain_class(folder):
        from transformers import PreTrainedTokenizerFast as Tokenizer
    else:
        from transformers import AutoTokenizer as Tokenizer

    with tokenizer_errors(f"The tokenizer in {folder} cannot be read"):
        with prints_go_to_stderr():  # of unknown settings
            tokenizer = Tokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        vocabulary = Vocabulary(tokenizer, folder)
        vocabulary.unknown("a")  # some faulty settings raise only at use
        vocabulary.text(vocabulary.encode("a")[-1])
        return vocabulary


def _names_the_plain_class(folder: Path) -> bool:
    """Whether the folder's settings name the class that needs `tokenizer.json` alone, as Llama 3's do.

    `AutoTokenizer` would choose the same class, but imports torch where it is installed, which takes longer than all
    other imports of a run. In all other cases `AutoTokenizer` chooses.
    """
    if not (folder / "tokenizer.json").is_file() or (folder / "tekken.json").exists():
        return False
    try:
        settings = read_json_object(folder / "tokenizer_config.json")
    except LandedError:
        return False
    return settings.get("tokenizer_class") in ("PreTrainedTokenizerFast", "TokenizersBackend") and (
        "auto_map" not in settings
    )
