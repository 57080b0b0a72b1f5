"""Only a model folder's own files are copied, whatever its links name."""

import os
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from landed_jax.checkpoints.hf.tokenizer import load_vocabulary
from landed_jax.errors import LandedError
from landed_jax.files.inside import file_inside
from landed_jax.loading import convert, load
from tests.checkpoints import make_tensors, write_checkpoint


@pytest.fixture
def src(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "src", make_tensors()[1])


@pytest.mark.quick
@pytest.mark.parametrize(
    "name",
    ["tokenizer.json", "special_tokens_map.json", "config.json", "model.safetensors", "model.safetensors.index.json"],
)
def test_links_out_of_the_folder_are_refused(src: Path, tmp_path: Path, name: str) -> None:
    secret = tmp_path / "secret"
    inside = src / name
    secret.write_bytes(inside.read_bytes() if inside.exists() else b"{}")
    secret.chmod(0o600)
    inside.unlink(missing_ok=True)
    for target in (secret, Path("..") / "secret"):
        inside.symlink_to(target)
        with pytest.raises(LandedError, match="is a link out of its folder"):
            convert(src, tmp_path / "dst")
        inside.unlink()
    assert not (tmp_path / "dst").exists()


def test_a_link_to_a_link_out_of_the_folder_is_refused(src: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("{}")
    (src / "one").symlink_to(tmp_path / "secret")
    (src / "added_tokens.json").symlink_to("one")
    with pytest.raises(LandedError, match=r"added_tokens\.json is a link out of its folder"):
        convert(src, tmp_path / "dst")


def test_what_is_no_ordinary_file_is_refused_and_does_not_hang(src: Path, tmp_path: Path) -> None:
    os.mkfifo(src / "tokenizer.json")
    for read in (lambda: convert(src, tmp_path / "dst"), lambda: load_vocabulary(src)):
        with pytest.raises(LandedError, match="is not an ordinary file"):
            read()
    (src / "tokenizer.json").unlink()
    (src / "config.json").unlink()
    (src / "config.json").symlink_to("/dev/zero")
    for read in (lambda: convert(src, tmp_path / "dst"), lambda: load(src)):
        with pytest.raises(LandedError, match="is not an ordinary file"):
            read()


@pytest.mark.parametrize("target", ["nowhere", "merges.txt"])
def test_links_that_lead_nowhere(src: Path, tmp_path: Path, target: str) -> None:
    (src / "merges.txt").symlink_to(target)
    with pytest.raises(LandedError, match=r"merges\.txt (is a link to nothing|cannot be used)"):
        convert(src, tmp_path / "dst")


def test_a_hub_cache_and_links_within_are_followed(src: Path, tmp_path: Path) -> None:
    repository = tmp_path / "models--owner--name"
    snapshot = repository / "snapshots" / "0a1b"
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    for i, file in enumerate(sorted(src.iterdir())):
        (repository / "blobs" / f"{i:040x}").write_bytes(file.read_bytes())
        (snapshot / file.name).symlink_to(Path("../../blobs") / f"{i:040x}")
    convert(snapshot, tmp_path / "dst")
    assert load(tmp_path / "dst").config == load(src).config
    assert not (tmp_path / "dst" / "config.json").is_symlink()
    (src / "kept.safetensors").write_bytes((src / "model.safetensors").read_bytes())
    (src / "model.safetensors").unlink()
    (src / "model.safetensors").symlink_to("kept.safetensors")
    assert file_inside(src, "model.safetensors") == src / "kept.safetensors"
    (tmp_path / "latest").symlink_to("src")
    convert(tmp_path / "latest", tmp_path / "again")


def test_a_link_into_another_repository_of_a_cache_is_refused(src: Path, tmp_path: Path) -> None:
    blob = tmp_path / "models--someone--private" / "blobs" / "abc"
    blob.parent.mkdir(parents=True)
    blob.write_text("{}")
    snapshot = tmp_path / "models--owner--name" / "snapshots" / "0a1b"
    shutil.copytree(src, snapshot)
    for folder in (src, snapshot):
        (folder / "special_tokens_map.json").symlink_to(blob)
        with pytest.raises(LandedError, match="is a link out of its folder"):
            convert(folder, tmp_path / "dst")


def test_copies_are_as_private_as_what_they_were_made_of(src: Path, tmp_path: Path) -> None:
    (src / "model.safetensors").chmod(0o600)
    convert(src, tmp_path / "dst")
    files = [path for path in (tmp_path / "dst").rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in files} == {0}
    load(tmp_path / "dst")


def test_a_tensor_file_elsewhere_is_not_taken_in_by_name(src: Path, tmp_path: Path) -> None:
    save_file({"x": np.zeros(3, np.float32)}, tmp_path / "private.safetensors")
    (src / "extra.safetensors").symlink_to(tmp_path / "private.safetensors")
    with pytest.raises(LandedError, match=r"extra\.safetensors is a link out of its folder"):
        convert(src, tmp_path / "dst")
