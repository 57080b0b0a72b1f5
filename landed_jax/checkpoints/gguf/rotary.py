"""The rotary settings of a GGUF file, in the words of config.json."""

import math
from typing import Any

import numpy as np

from landed_jax.checkpoints.gguf.header import Header
from landed_jax.checkpoints.gguf.tensors import values_of
from landed_jax.errors import LandedError
from landed_jax.nn.values import is_positive_float32

# Llama 3's scaling: the file holds what each frequency is divided by, and not the numbers that made it.
_LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
_LONGEST_TABLE = 1 << 13  # half of a head


def rope_scaling(header: Header, taken: dict[str, Any], theta: Any, rotated: Any) -> dict[str, Any] | None:
    """``rope_scaling`` of config.json, or None.

    Args:
        taken: the fields ``rope.scaling.…`` without these words; those that are read are removed.
        theta: the base of the frequencies, as the file has it.
        rotated: how many coordinates of a head are rotated, as the file has it.

    Raises:
        LandedError: for a table of divisors that is not Llama 3's.
    """
    kind = taken.pop("type", None)
    if "rope_freqs.weight" in header.tensors:
        return _llama3(header, theta, rotated)
    if {"rope_factors_long.weight", "rope_factors_short.weight"} <= header.tensors.keys():
        return _longrope(header, taken)
    if kind in (None, "none") and taken.get("factor") in (None, 0, 1):
        for name in ("factor", "original_context_length", "attn_factor"):
            if taken.get(name) in (None, 0, 1) or name == "original_context_length":
                taken.pop(name, None)
        return None
    found = {"rope_type": kind or "linear", "factor": taken.pop("factor", None)}
    if kind == "yarn":
        for ours, theirs in (
            ("original_max_position_embeddings", "original_context_length"),
            ("beta_fast", "yarn_beta_fast"),
            ("beta_slow", "yarn_beta_slow"),
        ):
            if theirs in taken:
                found[ours] = taken.pop(theirs)
    else:
        taken.pop("original_context_length", None)
    return found


def _llama3(header: Header, theta: Any, rotated: Any) -> dict[str, Any]:
    divisors = _table(header, "rope_freqs.weight")
    found = {"rope_type": "llama3", "factor": float(divisors.max()), **_LLAMA3}
    sound = rotated == 2 * divisors.size and is_positive_float32(theta) and is_positive_float32(found["factor"])
    if sound and np.allclose(divisors, _llama3_divisors(found, theta, rotated), rtol=1e-5):
        return found
    raise LandedError(
        f"{header.file} divides its rotary frequencies by the table rope_freqs.weight, which is not that of Llama 3's "
        "scaling: it is not read."
    )


def _llama3_divisors(scaling: dict[str, Any], theta: float, rotated: int) -> np.ndarray:
    """
    References:
        https://github.com/meta-llama/llama-models/blob/main/models/llama3/model.py (apply_scaling)
    """
    frequencies = float(theta) ** -(np.arange(0, rotated, 2) / rotated)
    turns = scaling["original_max_position_embeddings"] * frequencies / (2 * math.pi)
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    kept = np.clip((turns - low) / (high - low), 0, 1)
    return 1 / ((1 - kept) / scaling["factor"] + kept)


def _longrope(header: Header, taken: dict[str, Any]) -> dict[str, Any]:
    """Phi-3's two tables; the original length stands outside of the settings in its config.json."""
    short, long = (_table(header, f"rope_factors_{which}.weight") for which in ("short", "long"))
    found: dict[str, Any] = {"rope_type": "longrope"}
    found["short_factor"], found["long_factor"] = ([float(str(x)) for x in table] for table in (short, long))
    if "attn_factor" in taken:
        found["attention_factor"] = taken.pop("attn_factor")
    return found


def _table(header: Header, name: str) -> np.ndarray:
    shape = header.tensors[name].shape
    if len(shape) != 1 or shape[0] > _LONGEST_TABLE:
        raise LandedError(f"{header.file} is damaged: {name} has shape {list(shape)}.")
    return values_of(header, name)
