"""A checkpoint folder's tokenizer, without executing anything that came with it."""

import os
from pathlib import Path

from landed_jax.checkpoints.orbax import first_line
from landed_jax.errors import LandedError
from landed_jax.files.json_object import read_json_object
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
        LandedError: if there is one that cannot be read.
    """
    for path in (folder / name for name in TOKENIZER_FILES):
        if path.exists() and not path.is_file():  # a pipe or a device might never end
            raise LandedError(f"{path} is not an ordinary file.")
    if not any((folder / name).exists() for name in _VOCABULARY_FILES):
        return None
    # Without torch, transformers says on import that models are not available; here they never are asked for.
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    if _names_the_plain_class(folder):
        from transformers import PreTrainedTokenizerFast as Tokenizer
    else:
        from transformers import AutoTokenizer as Tokenizer

    try:
        vocabulary = Vocabulary(Tokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False))
        vocabulary.unknown("a")  # some settings are only looked at when it is used
        vocabulary.text(vocabulary.encode("a")[-1])
        return vocabulary
    except Exception as error:  # the tokenizers raise their own types, some of them bare Exception
        raise LandedError(f"The tokenizer in {folder} cannot be read: {first_line(error)}") from error


def _names_the_plain_class(folder: Path) -> bool:
    """Whether the folder says itself that `tokenizer.json` is the whole tokenizer, as Llama 3's do.

    `AutoTokenizer` would come to the same class, but imports torch on the way where it is installed, which takes longer
    than everything else that a run imports. Where there is anything else to weigh, it decides.
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
