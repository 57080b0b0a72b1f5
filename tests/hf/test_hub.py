"""From a source to a folder, without a network."""

from types import SimpleNamespace

import pytest

from landed_jax.checkpoints.hf.hub import resolve, resolve_adapter
from landed_jax.errors import LandedError


def test_a_folder_is_itself(tmp_path):
    assert resolve(tmp_path) == resolve(str(tmp_path)) == tmp_path


@pytest.mark.parametrize("source", ["./nowhere", "/no/where", "a/b/c", "foo/..bar"])
def test_a_folder_that_is_not_there(source):
    with pytest.raises(LandedError, match="There is no folder"):
        resolve(source)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(LandedError, match="is a file, and no GGUF: give the folder"):
        resolve(tmp_path / "model.safetensors")


def test_only_safetensors_and_no_code_are_asked_for(monkeypatch, tmp_path):
    import huggingface_hub
    from huggingface_hub.utils import filter_repo_objects

    asked = {}
    monkeypatch.setattr(
        huggingface_hub,
        "snapshot_download",
        lambda name, allow_patterns, **_: asked.update({name: allow_patterns}) or tmp_path,
    )
    assert resolve("owner/name") == tmp_path
    files = ["config.json", "model.safetensors", "model-00001-of-00002.safetensors", "model.safetensors.index.json"]
    files += ["tokenizer.json", "tokenizer.model", "tokenizer_config.json", "generation_config.json"]
    others = ["pytorch_model.bin", "modeling.py", "consolidated.safetensors", "original/model.pth", "README.md"]
    assert list(filter_repo_objects([*files, *others], allow_patterns=asked["owner/name"])) == files


@pytest.mark.parametrize("held", [["model.safetensors"], []])
def test_a_model_that_is_there_only_as_pickles(monkeypatch, tmp_path, held):
    import huggingface_hub

    for name in held:
        (tmp_path / name).touch()
    files = ["config.json", "pytorch_model.bin", "original/x.pth"]
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: tmp_path)
    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", lambda *_, **__: files)
    if held:
        assert resolve("owner/name") == tmp_path
        return
    with pytest.raises(LandedError, match=r"owner/name .* only as pytorch_model\.bin, which is Python's pickle format"):
        resolve("owner/name")
    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", lambda *_, **__: files[:1])
    assert resolve("owner/name") == tmp_path  # and the reader says that there are no weights


def test_adapters_come_without_anything_else(monkeypatch, tmp_path):
    import huggingface_hub
    from huggingface_hub.utils import filter_repo_objects

    asked = []
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda _, allow_patterns, **__: asked.append(allow_patterns) or tmp_path
    )
    wanted = ["adapter_config.json", "adapter_model.safetensors"]
    assert resolve_adapter("owner/name") == resolve_adapter(tmp_path) == tmp_path
    resolve("owner/name")
    resolve("owner/name", config_only=True)
    files = [*wanted, "adapter_model.bin", "config.json", "modeling.py", "tokenizer.json"]
    assert list(filter_repo_objects(files, allow_patterns=asked[0])) == wanted
    # An adapter beside the weights is seen, so that it is not ignored in silence.
    assert all("adapter_config.json" in patterns for patterns in asked[1:])


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


def test_a_revision_stands_behind_an_at(monkeypatch, tmp_path):
    import huggingface_hub

    asked = []

    def download(name, **how):
        asked.append((name, how.get("revision")))
        return tmp_path

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    for source in ("owner/name@step1000", "name@refs/pr/1", "owner/name"):
        assert resolve(source) == tmp_path
    assert asked == [("owner/name", "step1000"), ("name", "refs/pr/1"), ("owner/name", None)]
    (tmp_path / "a@b").mkdir()
    assert resolve(tmp_path / "a@b") == tmp_path / "a@b"

    def fail(*_, **__):
        raise huggingface_hub.errors.RevisionNotFoundError("no", response=RESPONSE)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(LandedError, match="owner/name has no branch, tag or commit 'step7'"):
        resolve("owner/name@step7")
