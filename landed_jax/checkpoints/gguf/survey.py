"""What a GGUF file holds, in the form in which a checkpoint's files are surveyed."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from landed_jax.checkpoints.gguf.header import read_header
from landed_jax.checkpoints.gguf.metadata import architecture_of, config_of
from landed_jax.checkpoints.gguf.tensors import find_packed
from landed_jax.checkpoints.hf.dtypes import FLOATS
from landed_jax.checkpoints.hf.survey import Survey, survey_found
from landed_jax.checkpoints.notes import Notes
from landed_jax.errors import LandedError, shown

DTYPES = ("float32", "bfloat16", "float16")
"""What the weights of a GGUF file may become."""


def survey_gguf(file: Path, ignore_fields: Collection[str], dtype: Any, notes: Notes) -> Survey:
    """A GGUF file's tensors, as those of the checkpoint that it was made from. Reads no weights.

    Args:
        dtype: what the weights become, one of `DTYPES`; None for float32, and for floats as they are.

    Raises:
        LandedError: if the file is damaged, or its metadata is not honoured in full.
    """
    kind = _safetensors_name(dtype)
    header = read_header(file)
    config = config_of(header, ignore_fields, notes)
    heads = {"attn_q": config.n_heads, "attn_k": config.n_kv_heads}
    return survey_found(file, find_packed(header, architecture_of(header), heads, kind), config, notes)


def _safetensors_name(dtype: Any) -> str | None:
    if dtype is None:
        return None
    try:
        name = str(np.dtype(dtype))
    except TypeError:
        name = ""
    if name not in DTYPES:
        raise LandedError(f"dtype is {shown(dtype)}: the weights of a GGUF file become {' or '.join(DTYPES)}.")
    return next(ours for ours, known in FLOATS.items() if str(known) == name)
