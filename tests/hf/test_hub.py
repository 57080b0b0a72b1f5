"""From a source to a folder, without a network."""

from types import SimpleNamespace

import pytest

from landed_jax.checkpoints.hf.hub import resolve
from landed_jax.errors import LandedError


def test_a_folder_is_itself(tmp_path):
    assert resolve(tmp_path) == resolve(str(tmp_path)) == tmp_path


@pytest.mark.parametrize("source", ["./nowhere", "/no/where", "a/b/c", "foo/..bar"])
def test_a_folder_that_is_not_there(source):
    with pytest.raises(LandedError, match="There is no folder"):
        resolve(source)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(LandedError, match="is a file: give the folder"):
        resolve(tmp_path / "model.safetensors")


def test_only_safetensors_and_no_code_are_asked_for(monkeypatch, tmp_path):
    import huggingface_hub
    from huggingface_hub.utils import filter_repo_objects

    asked = {}
    monkeypatch.setattr(
        huggingface_hub,
        "snapshot_download",
        lambda name, allow_patterns: asked.update({name: allow_patterns}) or tmp_path,
    )
    assert resolve("owner/name") == tmp_path
    files = ["config.json", "model.safetensors", "model-00001-of-00002.safetensors", "model.safetensors.index.json"]
    files += ["tokenizer.json", "tokenizer.model", "tokenizer_config.json"]
    others = ["pytorch_model.bin", "modeling.py", "consolidated.safetensors", "original/model.pth", "README.md"]
    assert list(filter_repo_objects([*files, *others], allow_patterns=asked["owner/name"])) == files


RESPONSE = SimpleNamespace(headers={}, request=None)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("GatedRepoError", "gives access on request"),
        ("RepositoryNotFoundError", "no such model"),
        (None, "did not give it"),
    ],
)
def test_what_cannot_be_downloaded_says_what_works_offline(monkeypatch, kind, said):
    import huggingface_hub

    def fail(*_, **__):
        raise getattr(huggingface_hub.errors, kind)("no", response=RESPONSE) if kind else ConnectionError("no")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(LandedError, match=said) as caught:
        resolve("owner/name")
    assert "Without a network" in str(caught.value)
