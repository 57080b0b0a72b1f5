"""What a file, a name or a prompt holds never acts on a terminal, and never makes a line of its own."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from landed_jax.checkpoints.bundle import bundled_folder
from landed_jax.checkpoints.native import MANIFEST
from landed_jax.cli.commands import status_of
from landed_jax.files.checksums import sealed
from landed_jax.loading import convert
from landed_jax.printable import printable
from tests.checkpoints import make_tensors, write_shards

# A colour, a title, a bidirectional override, C1's own escape, a line that looks like ours, a carriage return, NUL.
EVIL = "x\x1b[31m\x1b]0;t\x07\u202e\x9b2J\nlanded: all is well\rlanded"
INDEX_FILE = "model.safetensors.index.json"
EVIL_FILE = EVIL.replace("\n", "\v")


def copy(folder: Path) -> Path:
    return Path(shutil.copytree(bundled_folder(), folder, copy_function=shutil.copyfile))


def config(folder: Path, change: Callable[[dict], object]) -> None:
    file = folder / "config.json"
    values = json.loads(file.read_text())
    change(values)
    file.write_text(json.dumps(values))


def manifest(folder: Path, change: Callable[[dict], object]) -> None:
    values = json.loads((folder / MANIFEST).read_text())
    del values["checksum"]
    change(values)
    (folder / MANIFEST).write_text(json.dumps(sealed(values)))


def tensors(folder: Path, change: Callable[[dict], object]) -> None:
    values = load_file(folder / "model.safetensors")
    change(values)
    save_file(values, folder / "model.safetensors")


def index(folder: Path, change: Callable[[dict], object]) -> None:
    shutil.rmtree(folder)
    names = write_shards(folder, make_tensors()[1])
    change(names)
    (folder / INDEX_FILE).write_text(json.dumps({"weight_map": names}))


def tokenizer(folder: Path, name: str, values: object) -> None:
    (folder / name).write_text(json.dumps(values))


CONFIGS: dict[str, Callable[[dict], object]] = {
    "config: a key": lambda v: v.update({EVIL: 1}),
    "config: a value": lambda v: v.update(logit_scale=EVIL),
    "config: model_type": lambda v: v.update(model_type=EVIL),
    "config: model_type, a list": lambda v: v.update(model_type=[EVIL]),
    "config: activation": lambda v: v.update(hidden_act=EVIL),
    "config: architectures": lambda v: v.update(architectures=[EVIL]),
    "config: rope's key": lambda v: v.update(rope_scaling={"rope_type": "linear", "factor": 2.0, EVIL: 1}),
    "config: rope's type": lambda v: v.update(rope_scaling={"rope_type": EVIL}),
    "config: layer types": lambda v: v.update(layer_types=[EVIL]),
}
TENSORS: dict[str, Callable[[dict], object]] = {
    "tensor: left over": lambda v: v.update({EVIL: np.zeros(3, np.float32)}),
    "tensor: of another type": lambda v: v.update({EVIL: np.zeros(3, np.int8)}),
}
INDEX: dict[str, Callable[[dict], object]] = {
    "index: a tensor": lambda v: v.update({EVIL: next(iter(v.values()))}),
    "index: a shard": lambda v: v.update({"model.norm.weight": EVIL_FILE + ".safetensors"}),
    "index: a shard elsewhere": lambda v: v.update({EVIL: "../" + EVIL}),
}
MANIFESTS: dict[str, Callable[[dict], object]] = {
    "manifest: format": lambda v: v.update(format=EVIL),
    "manifest: a config field": lambda v: v["config"].update({EVIL: 1}),
    "manifest: a config value": lambda v: v["config"].update(activation=EVIL),
    "manifest: a type": lambda v: v["parts"][0].update({"embed/W_E": EVIL}),
    "manifest: a file": lambda v: v["files"].update({EVIL: "0"}),
}
FILES: dict[str, Callable[[Path], object]] = {
    "a pickle's name": lambda f: ((f / "model.safetensors").unlink(), (f / (EVIL_FILE + ".bin")).touch()),
    "tokenizer: its class": lambda f: tokenizer(f, "tokenizer_config.json", {"tokenizer_class": EVIL}),
    "tokenizer: its type": lambda f: tokenizer(f, "tokenizer.json", {"model": {"type": EVIL}}),
    "tokenizer: no JSON": lambda f: (f / "tokenizer.json").write_text(EVIL),
    "config: no JSON": lambda f: (f / "config.json").write_text("{" + EVIL),
    "index: no JSON": lambda f: (
        (f / "model.safetensors").unlink(),
        tokenizer(f, "model.safetensors.index.json", EVIL),
    ),
}


def safe(output: str) -> None:
    """Nothing but lines of printable text."""
    assert [c for c in output if not c.isprintable() and c != "\n"] == []
    assert "\nlanded: all is well" not in output


@pytest.mark.parametrize("kind", [*CONFIGS, *TENSORS, *INDEX, *MANIFESTS, *FILES])
def test_bad_input_is_one_line_without_controls(kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "model"
    if kind in MANIFESTS:
        convert("bundled", folder)
        manifest(folder, MANIFESTS[kind])
    else:
        copy(folder)
        for changes, change in ((CONFIGS, config), (TENSORS, tensors), (INDEX, index)):
            if kind in changes:
                change(folder, changes[kind])
        if kind in FILES:
            FILES[kind](folder)
    capfd.readouterr()
    status = status_of(["run", "The Colosseum is in the city of", "--model", str(folder)])
    out, err = capfd.readouterr()
    safe(out + err)
    if status == 0:  # transformers reads tokenizer.json, whatever its class is called, and ignores such keys
        assert kind in ("tokenizer: its class", "config: rope's key")
    else:
        assert status == 2
        assert err.startswith("landed: ") and err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "Rome", "--model", EVIL],
        ["run", "Rome", "--model", "/no/" + EVIL],
        ["run", EVIL],
        ["run", "The Colosseum is in the city of", "--target", EVIL],
        ["run", "Rome", "--position", EVIL],
        ["run", "Rome", "--json", "/no/" + EVIL],
        ["run", "Rome", "--out", EVIL],
        ["run", "Rome", "--out", "/no/" + EVIL + ".nc"],
        ["convert", EVIL, "dst"],
        ["convert", "bundled", "/dev/null/" + EVIL],
        ["info", EVIL],
        ["verify", "bundled", "--against", EVIL],
        ["testbed", "show", EVIL],
        ["testbed", "train", "/dev/null/" + EVIL],
        [EVIL],
        ["run", "--" + EVIL],
    ],
    ids=ascii,
)
def test_what_is_typed_comes_back_without_controls(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    status_of(arguments)
    out, err = capfd.readouterr()
    safe(out + err)


def test_a_folder_with_such_a_name_can_be_used(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = copy(tmp_path / EVIL)
    for arguments in (
        ["info", str(folder)],
        ["run", "Rome " + EVIL, "--model", str(folder), "--top", "1"],
        ["run", "Rome " + EVIL, "--model", str(folder), "--json", "-"],
        ["convert", str(folder), str(tmp_path / ("to" + EVIL))],
    ):
        assert status_of(arguments) == 0
        out, err = capfd.readouterr()
        safe(out + err)
        if "-" in arguments:
            assert json.loads(out)["prompt"] == "Rome " + EVIL


def test_printable_keeps_what_prints() -> None:
    for text in ("plain", "σ γ × ′", "日本語", "😀", "a b"):
        assert printable(text) == text
    assert printable("a\u00a0b\ud800") == "a\\xa0b\\ud800"
