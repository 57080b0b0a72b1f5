"""Whether a folder is refused in a sentence, or gives the numbers that its files say; anything else is an error."""

import contextlib
import functools
import hashlib
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from landed_jax.checkpoints.hf.table import to_hf
from landed_jax.errors import LandedError
from landed_jax.forward_pass import forward
from landed_jax.loading import load, read_config
from landed_jax.model import Model
from landed_jax.nn.config import ModelConfig, RopeConfig
from landed_jax.nn.parameters import Params
from tests.fuzz import expected
from tests.reference.numpy_model import numpy_forward

REFUSED, ACCEPTED = "refused", "accepted"
_TEXT = "The city of Rome, café"
_LONGEST_MESSAGE = 6000  # characters: twelve items of 300, and what stands around them
_TOLERANCE = 1e-9  # of the largest logit; in float64 two right programs differ by about 1e-14


class Wrong(Exception):
    """An accepted folder gives other numbers than its files say."""


def judge(folder: Path, original: Model, *, must_accept: bool = False) -> str:
    """`REFUSED` or `ACCEPTED`.

    Args:
        original: the model that the folder was before it was changed.
        must_accept: for changes that concern no number.

    Raises:
        Wrong: where the numbers are others than the files', or a refusal is no sentence.
    """
    try:
        model = load(folder, stacked=False)
        if read_config(folder)[0] != model.config:
            raise Wrong("`landed info` says another config")
        _check_numbers(folder, model, original)
        _check_text(model)
    except LandedError as error:
        if must_accept or "\n" in str(error) or len(str(error)) > _LONGEST_MESSAGE:
            raise Wrong(f"refused: {str(error)[:500]}") from error
        return REFUSED
    return ACCEPTED


def _check_text(model: Model) -> None:
    """Text goes in and out, or is refused."""
    with contextlib.suppress(LandedError):  # that there is no tokenizer, or why it cannot be read
        model.encode(_TEXT)
    if model.vocabulary is None:
        return
    for text in (_TEXT, "", "a \0 \U0010fffd"):
        ids = model.vocabulary.encode(text)
        model.vocabulary.unknown(text)
        for token in ids[-3:]:
            model.vocabulary.text(token)
    with contextlib.suppress(LandedError):
        model.vocabulary.token_id(" Rome")


def _check_numbers(folder: Path, model: Model, original: Model) -> None:
    if (folder / "landed.json").exists():
        values = json.loads((folder / "landed.json").read_bytes())["config"]
        layers = {name: tuple(values[name]) for name in ("windowed_layers", "rotary_layers")}
        ropes = {name: values[name] and _rope(values[name]) for name in ("rope", "local_rope")}
        config = ModelConfig(**{**values, **layers, **ropes})
        _same_params(to_hf(model.params, model.config), to_hf(original.params, original.config))
    else:
        config = expected.config_of(folder)
        _same_params(to_hf(model.params, model.config), expected.tensors_of(folder))
    if model.config != config:
        raise Wrong(f"the config is {model.config}, and the files say {config}")
    digest = hashlib.sha256(b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(model.params)))
    _known_params[digest.hexdigest()] = model.params
    _check_logits(digest.hexdigest(), config)


def _rope(values: dict[str, Any]) -> RopeConfig:
    return RopeConfig(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


_known_params: dict[str, Params] = {}


@functools.cache  # most folders that are accepted hold the same model
def _check_logits(digest: str, config: ModelConfig) -> None:
    params = _known_params.pop(digest)
    ids = np.array([[1, 2, 0, 3, 1, 4]]) % config.vocab_size
    found = _logits(params, ids, config)
    with np.errstate(all="ignore"):
        right = numpy_forward(params, ids, None, config)["logits"]
    largest = np.abs(right).max()
    if not (np.isfinite(found).all() and np.abs(found - right).max() <= _TOLERANCE * largest):
        raise Wrong(f"logits differ by {np.abs(found - right).max()} of {largest}")


def _same_params(found: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> None:
    for name, value in found.items():
        other = right[name]
        if value.dtype != other.dtype or value.shape != other.shape or value.tobytes() != other.tobytes():
            raise Wrong(f"{name} is not as the file has it")


def _logits(params: Params, ids: np.ndarray, config: ModelConfig) -> np.ndarray:
    """In float64; not jitted, as every config would compile a program of its own."""
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf).astype(np.float64)), params)
        logits, _ = forward(wide, jnp.asarray(ids), config, record=(), dtype="float64")
        return np.asarray(logits)
