"""The config and the tokenizer's files beside weights that are written: those of the model that they were read from."""

import json
from collections.abc import Sequence
from pathlib import Path

from landed_jax.checkpoints.gguf.header import is_gguf, read_header
from landed_jax.checkpoints.gguf.metadata import config_fields
from landed_jax.checkpoints.gguf.tokenizer import open_gguf_vocabulary
from landed_jax.checkpoints.hf.tokenizer import TOKENIZER_FILES
from landed_jax.files.inside import copy_inside

CONFIG = "config.json"


def write_source_files(source: Path, folder: Path, names: Sequence[str] = (CONFIG, *TOKENIZER_FILES)) -> None:
    """Put files of the model in `source` into `folder`, where it has them.

    Args:
        source: a folder, whose files are copied; or a GGUF file, from whose metadata they are made.
        names: which.

    Raises:
        LandedError: for a link out of the folder, and files that cannot be read.
    """
    if not is_gguf(source):
        for name in names:
            copy_inside(source, name, folder)
        return
    if CONFIG in names:
        text = json.dumps(config_fields(read_header(source)), indent=2)
        (folder / CONFIG).write_text(f"{text}\n", encoding="utf-8")
    vocabulary, _ = open_gguf_vocabulary(source)
    if vocabulary is not None:
        vocabulary.tokenizer.save_pretrained(folder)
