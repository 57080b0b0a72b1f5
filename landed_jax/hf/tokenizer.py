"""A checkpoint folder's tokenizer, without executing anything that came with it."""

import os
from pathlib import Path

from landed_jax.errors import LandedError
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
    if not any((folder / name).exists() for name in _VOCABULARY_FILES):
        return None
    # Without torch, transformers says on import that models are not available; here they never are asked for.
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    from transformers import AutoTokenizer

    try:
        return Vocabulary(AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False))
    except Exception as error:  # the tokenizers raise their own types, some of them bare Exception
        raise LandedError(f"The tokenizer in {folder} cannot be read: {error}") from error
