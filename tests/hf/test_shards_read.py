"""What a process reads of a checkpoint, and holds: the bytes of its own devices' shards, each once."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

from landed_jax.checkpoints.hf import reader
from landed_jax.checkpoints.hf.files import Stored
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import leaf_places
from landed_jax.nn.sharding import leaf_sharding
from tests.checkpoints import make_tensors, read_folder, write_checkpoint

CONFIG = ModelConfig(vocab_size=32, d_model=16, n_layers=2, n_heads=8, n_kv_heads=4, head_dim=4, d_ff=24)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes of each read."""
    bytes_read: list[int] = []
    read, straight = Stored.read, Stored.read_into

    def count(self: Stored, index: Any) -> np.ndarray:
        found = read(self, index)
        bytes_read.append(found.nbytes)
        return found

    def count_straight(self: Stored, index: Any, out: np.ndarray) -> None:
        before = len(bytes_read)
        straight(self, index, out)
        if len(bytes_read) == before:  # it did not go by way of `read`
            bytes_read.append(out.nbytes)

    monkeypatch.setattr(Stored, "read", count)
    monkeypatch.setattr(Stored, "read_into", count_straight)
    return bytes_read


def only(devices: list[Any]) -> Callable[..., Any]:
    """In the place of `jax.make_array_from_callback`: asks for what a process with these devices would be asked for."""

    def asked(shape: tuple[int, ...], sharding: Any, read: Callable[[Any], np.ndarray]) -> list[np.ndarray]:
        cuts = sharding.devices_indices_map(shape)
        return [read(cuts[device]) for device in devices]

    return asked


def bytes_of(config: ModelConfig, mesh: Mesh, devices: list[Any]) -> int:
    """By the shardings: of each leaf the different cuts that these devices hold, in float32."""
    total = 0
    for _, leaf in leaf_places(config):
        shape = leaf.shape(config)
        cuts = leaf_sharding(leaf, config, mesh).devices_indices_map(shape)
        own = {tuple(cut.indices(size)[:2] for cut, size in zip(cuts[d], shape, strict=True)) for d in devices}
        total += 4 * sum(math.prod(stop - start for start, stop in cut) for cut in own)
    return total


@pytest.mark.parametrize("sizes", [(1, 8), (2, 4), (8, 1)])
@pytest.mark.parametrize("held", [slice(0, 1), slice(2, 4), slice(0, 8)])
@pytest.mark.parametrize("stacked", [False, True])
def test_the_bytes_of_the_own_shards_are_read_once(
    tmp_path: Path,
    counted: list[int],
    monkeypatch: pytest.MonkeyPatch,
    sizes: tuple[int, int],
    held: slice,
    stacked: bool,
) -> None:
    _, tensors = make_tensors(CONFIG)
    write_checkpoint(tmp_path, tensors, CONFIG)
    mesh = Mesh(np.array(jax.devices()[:8]).reshape(sizes), ("data", "model"))
    own = jax.devices()[:8][held]
    monkeypatch.setattr(reader.jax, "make_array_from_callback", only(own))
    read_folder(tmp_path, CONFIG, mesh=mesh, stacked=stacked)
    assert sum(counted) == bytes_of(CONFIG, mesh, own)
    if held == slice(0, 8):
        assert sum(counted) == sum(tensor.nbytes for tensor in tensors.values())


def test_a_cut_along_columns_is_read_in_few_pieces(tmp_path: Path, counted: list[int]) -> None:
    _, tensors = make_tensors(CONFIG)
    write_checkpoint(tmp_path, tensors, CONFIG)
    mesh = Mesh(np.array(jax.devices()[:8]), ("model",))
    read_folder(tmp_path, CONFIG, mesh=mesh)
    pieces = sum(8 for _, leaf in leaf_places(CONFIG))
    assert len(counted) <= pieces  # not one a row
