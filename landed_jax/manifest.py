"""What made a result: model, weights, prompts, versions, device, precision, command."""

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from landed_jax.model import Model
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import Params
from landed_jax.processes import gathered

_PACKAGES = ("landed-jax", "jax", "jaxlib", "numpy")
_BLOCK = 1 << 26  # bytes of a leaf that are copied at a time


def manifest_of(
    model: Model,
    *,
    prompts: Mapping[str, Any],
    dtype: Any,
    command: str,
    **settings: Any,
) -> dict[str, Any]:
    """Everything that a result's numbers depend on, as plain values.

    Args:
        prompts: how to read them again.
        dtype: of the numbers.
        command: what was asked, as it was written.
        settings: what else was asked, by name.
    """
    precision = jax.config.jax_default_matmul_precision  # pyright: ignore[reportAttributeAccessIssue] # made at run time
    device = jax.devices()[0]
    return {
        "model": {
            "source": model.source,
            "config": json.dumps(model.config.to_dict(), sort_keys=True),
            "weights": weights_digest(model.config, model.params),
            "notes": list(model.notes),
        },
        "prompts": dict(prompts),
        **settings,
        "dtype": np.dtype(dtype).name,
        "matmul_precision": str(precision or "highest"),
        "device": f"{device.platform} ({device.device_kind})",
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
        "command": command,
    }


def differences(
    mine: Mapping[str, Any],
    theirs: Mapping[str, Any],
    ignored: tuple[str, ...] = (),
    *,
    called: tuple[str, str] = ("here", "there"),
) -> list[str]:
    """What two manifests do not agree on, in words; a manifest's own fields are named by their path.

    Args:
        called: what the two are called.

    >>> differences({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "c": 2})
    ['a.b is 1 here and 3 there']
    """

    def flat(values: Mapping[str, Any], before: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in values.items():
            path = f"{before}{name}"
            if path not in ignored:
                found |= flat(value, f"{path}.") if isinstance(value, Mapping) else {path: value}
        return found

    here, there = flat(mine, ""), flat(theirs, "")
    return [
        f"{path} is {_short(here.get(path))} {called[0]} and {_short(there.get(path))} {called[1]}"
        for path in sorted(here.keys() | there.keys())
        if here.get(path) != there.get(path)
    ]


def weights_digest(config: ModelConfig, params: Params) -> str:
    """SHA-256 of the architecture and of every weight: its path, type, shape and bytes."""
    digest = hashlib.sha256(json.dumps(config.to_dict(), sort_keys=True).encode())
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        digest.update(f"{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}".encode())
        values = np.asarray(gathered(leaf))
        flat = values.reshape(-1)
        step = max(_BLOCK // max(values.dtype.itemsize, 1), 1)
        for first in range(0, flat.size, step):
            digest.update(np.ascontiguousarray(flat[first : first + step]).view(np.uint8).data)
    return digest.hexdigest()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _short(value: Any) -> str:
    text = "not there" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
