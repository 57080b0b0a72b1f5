"""Models in an object store, by fsspec's own store in memory."""

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

import landed_jax as landed
from landed_jax.checkpoints.bundle import bundled_folder
from landed_jax.checkpoints.hf.hub import named, resolve
from landed_jax.errors import LandedError
from landed_jax.loading import read_config

URL = "memory://bucket/model"
PROMPT = "The Colosseum is in the city of"


@pytest.fixture
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """How often each file of the store was copied."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "home"))
    counted, real = Counter[str](), MemoryFileSystem.get_file

    def get_file(self: MemoryFileSystem, name: str, there: str, **given: object) -> None:
        counted[Path(name).name] += 1
        real(self, name, there, **given)

    monkeypatch.setattr(MemoryFileSystem, "get_file", get_file)
    yield counted
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


def put(folder: Path, url: str = URL) -> fsspec.AbstractFileSystem:
    store, root = fsspec.url_to_fs(url)
    for path in (path for path in folder.rglob("*") if path.is_file()):
        store.pipe_file(f"{root}/{path.relative_to(folder).as_posix()}", path.read_bytes())
    return store


def test_it_gives_the_logits_of_the_folder(copies: Counter[str]) -> None:
    put(bundled_folder())
    expected = landed.load().trace(PROMPT, at=-1).logits
    np.testing.assert_array_equal(landed.load(URL).trace(PROMPT, at=-1).logits, expected)
    assert "MODEL_CARD.md" not in copies and copies["model.safetensors"] == 1


def test_only_what_changed_is_copied_again(copies: Counter[str]) -> None:
    store = put(bundled_folder())
    folder = resolve(URL)
    assert resolve(f"{URL}/") == folder and set(copies.values()) == {1}
    text = (folder / "config.json").read_text().replace("1e-05", "1e-06") + " "
    store.pipe_file("/bucket/model/config.json", text.encode())
    (folder / "tokenizer.json").unlink()
    assert resolve(URL) == folder and (folder / "config.json").read_text() == text
    assert {name for name, count in copies.items() if count == 2} == {"config.json", "tokenizer.json"}
    store.rm("/bucket/model/tokenizer_config.json")
    assert not (resolve(URL) / "tokenizer_config.json").exists()


def test_a_copy_that_was_cut_short_is_made_again(
    copies: Counter[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(bundled_folder())
    with monkeypatch.context() as patch:
        patch.setattr(MemoryFileSystem, "get_file", lambda self, name, there: Path(there).write_bytes(b"{"))
        with pytest.raises(LandedError, match=r"config\.json has .* bytes, and 1 came: try again"):
            resolve(URL)
    assert not list(Path(tmp_path / "home").rglob("*.copying"))
    assert landed.load(URL).config == landed.load().config


def test_a_native_folder_and_its_parts(copies: Counter[str], tmp_path: Path) -> None:
    landed.convert("bundled", tmp_path / "native")
    put(tmp_path / "native")
    expected = landed.load().trace(PROMPT, at=-1).logits
    np.testing.assert_array_equal(landed.load(URL).trace(PROMPT, at=-1).logits, expected)


def test_facts_of_a_native_folder_take_no_weights(copies: Counter[str], tmp_path: Path) -> None:
    landed.convert("bundled", tmp_path / "native")
    put(tmp_path / "native")
    assert read_config(URL)[0] == landed.load().config
    assert "landed.json" in copies and "config.json" in copies and len(copies) == 2
    landed.load(URL)
    assert len(copies) > 10


def test_a_store_that_tells_sizes_alone_is_copied_each_time(
    copies: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(bundled_folder())
    find = MemoryFileSystem.find

    def sizes(self: MemoryFileSystem, path: str, **how: object) -> dict[str, dict[str, object]]:
        found = find(self, path, **how)
        return {name: {"name": name, "type": "file", "size": None, "url": name, "mimetype": "x"} for name in found}

    monkeypatch.setattr(MemoryFileSystem, "find", sizes)
    resolve(URL), resolve(URL)
    assert set(copies.values()) == {2}


def test_who_has_a_file_open_goes_on_reading_it(copies: Counter[str]) -> None:
    store = put(bundled_folder())
    folder = resolve(URL)
    with (folder / "config.json").open("rb") as opened:
        store.pipe_file("/bucket/model/config.json", b"{}")
        resolve(URL)
        assert opened.read() == (bundled_folder() / "config.json").read_bytes()
    assert (folder / "config.json").read_bytes() == b"{}"


def test_no_secret_is_said_or_kept(copies: Counter[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LandedError) as failed:
        resolve("nosuchstore://me:SECRET@a/b?signature=SECRET")
    assert "SECRET" not in str(failed.value) and "nosuchstore://a/b" in str(failed.value)
    put(bundled_folder())

    def fails(self: MemoryFileSystem, name: str, there: str) -> None:
        raise OSError("403 for https://me:SECRET@host/config.json?signature=SECRET")

    monkeypatch.setattr(MemoryFileSystem, "get_file", fails)
    with pytest.raises(LandedError, match=r"could not be copied \(OSError: 403 for https://host/config\.json\)"):
        resolve(URL)
    assert named("https://me:SECRET@host/model?signature=SECRET") == "https://host/model"


def test_a_gguf_file(copies: Counter[str], tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "small.gguf").write_bytes(b"GGUF" + bytes(20))
    put(tmp_path / "one")
    found = resolve(f"{URL}/small.gguf")
    assert found.name == "small.gguf" and found.read_bytes() == (tmp_path / "one" / "small.gguf").read_bytes()


def test_a_name_that_leads_out_of_the_folder(copies: Counter[str], tmp_path: Path) -> None:
    landed.convert("bundled", tmp_path / "native")
    store = put(tmp_path / "native")
    store.pipe_file("/bucket/model/params/../../../x", b"1")
    with pytest.raises(LandedError, match="a name that leads out of its folder"):
        resolve(URL)


def test_what_cannot_be_read(copies: Counter[str]) -> None:
    with pytest.raises(LandedError, match="memory://bucket/nothing holds no checkpoint"):
        resolve("memory://bucket/nothing")
    with pytest.raises(LandedError, match=r"nosuchstore://a/b cannot be read \(ValueError: Protocol not known"):
        resolve("nosuchstore://a/b")


def test_a_package_that_is_missing(copies: Counter[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(LandedError, match=r"s3://bucket/model needs a package that is not installed: .*s3fs"):
        resolve("s3://bucket/model")
