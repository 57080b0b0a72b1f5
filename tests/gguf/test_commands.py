"""`landed run`, `info`, `convert` and `verify` on a GGUF file."""

import dataclasses
import json
from pathlib import Path

import jax
import pytest
from gguf import GGMLQuantizationType as Kind

import landed_jax as landed
from landed_jax.checkpoints.hf.table import to_hf
from landed_jax.cli.commands import status_of
from tests.checkpoints import assert_same
from tests.gguf.files import write_gguf
from tests.gguf.test_tensors import CONFIG, fields
from tests.gguf.test_tokenizer import TOKENS, byte_level
from tests.models import random_params
from tests.needs import needs_torch


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = dataclasses.replace(CONFIG, vocab_size=len(TOKENS))
    tensors = dict(to_hf(random_params(config), config))
    path = tmp_path_factory.mktemp("model") / "model.Q4_0.gguf"
    return write_gguf(path, fields(config), tensors, Kind.Q4_0, more=byte_level("smollm", add_bos_token=False))


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_run(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert status_of(["run", "The city of", "--model", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "Largest landed contributions" in shown
    assert max(map(len, shown.splitlines())) <= 80 or str(file) in shown.splitlines()[0]
    assert status_of(["run", "The city of", "--model", str(file), "--json", str(tmp_path / "a.json")]) == 0
    account = json.loads((tmp_path / "a.json").read_text())
    assert account["closure_error"] < 1e-4 and "".join(account["tokens"]) == "The city of"


def test_info(file: Path, capsys: pytest.CaptureFixture) -> None:
    assert status_of(["info", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "llama" in shown and "weights in float32" in shown
    assert all(len(line) <= 80 for line in shown.splitlines()[1:])
    assert status_of(["info", str(file), "--why"]) == 0
    assert capsys.readouterr().out == "Nothing keeps this model from being opened.\n"


@needs_torch
def test_convert_and_verify(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    hf, native = str(tmp_path / "hf"), str(tmp_path / "native")
    assert status_of(["convert", str(file), hf, "--hf"]) == 0
    assert status_of(["convert", str(file), native]) == 0
    assert_same(landed.load(hf).params, landed.load(native).params)
    assert status_of(["verify", str(file), "--against", hf]) == 0
    assert "Equal at every rung in float64" in capsys.readouterr().out
    assert status_of(["convert", str(file), str(tmp_path / "half"), "--hf", "--dtype", "bfloat16"]) == 0
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(landed.load(tmp_path / "half").params)} == {"bfloat16"}


def test_permissions_are_kept(file: Path, tmp_path: Path) -> None:
    file.chmod(0o600)
    try:
        assert status_of(["convert", str(file), str(tmp_path / "hf"), "--hf"]) == 0
        assert {path.stat().st_mode & 0o777 for path in (tmp_path / "hf").iterdir()} == {0o600}
    finally:
        file.chmod(0o644)
