"""How the command line reads odd checkpoints: warnings, options, reasons, and no device where none is needed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import landed_jax as landed
from landed_jax.checkpoints.bundle import bundled_folder
from landed_jax.cli.commands import status_of
from landed_jax.loading import load
from tests.checkpoints import make_tensors, write_checkpoint
from tests.hf.test_adapter import Q, write_adapter
from tests.needs import needs_torch

PROMPT = "The Colosseum is in the city of"


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """The bundled model with a field that nobody knows and a setting that the reference ignores."""
    folder = Path(shutil.copytree(bundled_folder(), tmp_path / "odd", copy_function=shutil.copyfile))
    config = json.loads((folder / "config.json").read_text())
    config |= {"some_new_switch": 3, "partial_rotary_factor": 0.5}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


WARNING = (
    "landed: config.json: partial_rotary_factor = 0.5 is ignored, as transformers does: default does not read it\n"
)
IGNORED = "config.json: some_new_switch = 3 was ignored on request"


def test_ignored_fields_are_in_every_result(odd: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert status_of(["run", PROMPT, "--model", str(odd)]) == 2
    assert "some_new_switch = 3 (an unknown field" in capfd.readouterr().err
    arguments = ["--ignore-field", "some_new_switch"]
    out = tmp_path / "rome.nc"
    assert status_of(["run", PROMPT, "--model", str(odd), *arguments, "--json", "-", "--out", str(out)]) == 0
    said, warned = capfd.readouterr()
    assert warned == WARNING
    found = json.loads(said)
    assert found["notes"] == [WARNING.removeprefix("landed: ").strip(), IGNORED]
    assert json.loads(landed.load_result(out).attrs["notes"]) == found["notes"]
    assert status_of(["run", PROMPT, "--json", "-"]) == 0
    plain = json.loads(capfd.readouterr().out)
    assert plain["notes"] == []
    assert {**found, "model": "", "notes": []} == {**plain, "model": ""}
    native = str(tmp_path / "native")
    assert status_of(["convert", str(odd), native, *arguments]) == 0
    assert capfd.readouterr().err == WARNING
    assert status_of(["run", PROMPT, "--model", native, "--json", "-"]) == 0
    assert json.loads(capfd.readouterr().out)["notes"] == found["notes"]
    assert status_of(["info", str(odd), *arguments]) == 0
    assert capfd.readouterr().err == WARNING


def test_results_in_python_record_the_notes(odd: Path) -> None:
    with pytest.warns(landed.LandedWarning, match="is ignored"):
        model = load(odd, ignore_fields=["some_new_switch"])
    shares = landed.attribute(model.trace(PROMPT, at=-1), " Rome")
    assert shares.provenance.notes == model.notes
    assert json.loads(shares.to_xarray().attrs["notes"]) == list(model.notes)
    assert "notes" not in landed.attribute(load().trace(PROMPT, at=-1), " Rome").to_xarray().attrs


@needs_torch
def test_verify_ignores_fields_and_heeds_untied_tables(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    _, tensors = make_tensors()
    folder = write_checkpoint(tmp_path / "m", tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True, "some_new_switch": 3}))
    arguments = ["verify", str(folder), "--against", str(folder), "--length", "4"]
    assert status_of(arguments) == 2
    assert "some_new_switch" in capfd.readouterr().err
    assert status_of([*arguments, "--ignore-field", "some_new_switch"]) == 0
    said, warned = capfd.readouterr()
    assert "Equal at every rung" in said
    assert warned.startswith("landed: config.json ties lm_head.weight to") and warned.count("\n") == 1


def test_an_adapter_is_merged_on_the_command_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder, adapter = bundled_folder(), tmp_path / "lora"
    write_adapter(adapter, {Q: 3}, load_file(folder / "model.safetensors"))
    run = ["run", PROMPT, "--target", " Rome", "--json", "-"]
    found = []
    for options in ([], ["--adapter", str(adapter)], ["--adapter", "none"]):
        assert status_of([*run, *options]) == 0
        found.append(json.loads(capfd.readouterr().out))
    assert found[1]["notes"] == [f"the adapter {adapter} was merged into 1 weights"]
    assert found[1]["logit"] != found[0]["logit"]
    logits = load(adapter=adapter).trace(PROMPT, at=-1).logits
    assert found[1]["logit"] == pytest.approx(float(logits[0, -1, found[1]["target"]["id"]]), abs=1e-4)
    assert found[2] == found[0]
    assert status_of([*run, "--adapter", str(tmp_path / "no-such")]) == 2
    assert "There is no folder" in capfd.readouterr().err


def test_why_lists_every_reason(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    _, tensors = make_tensors()
    folder = write_checkpoint(tmp_path / "m", tensors)
    assert status_of(["info", str(folder), "--why"]) == 0
    said = capfd.readouterr().out
    assert said.startswith(
        "Nothing keeps this model from being opened.\nIt takes token ids only, and no text: There are no"
    )
    broken = {name: tensor for name, tensor in tensors.items() if "layers" not in name}
    broken["model.norm.weight"] = broken["model.norm.weight"] * np.float32("nan")
    write_checkpoint(folder, broken)
    assert status_of(["info", str(folder), "--why"]) == 1
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) == 28
    assert lines[-1] == "model.norm.weight holds 16 values that are not finite"
    assert status_of(["convert", str(folder), str(tmp_path / "native")]) == 2
    assert "and 16 more: landed info MODEL --why lists all." in capfd.readouterr().err
    (folder / "config.json").write_text(json.dumps({"model_type": "mamba"}))
    assert status_of(["info", str(folder), "--why"]) == 1
    assert capfd.readouterr().out.startswith("model_type is 'mamba'")
    native = tmp_path / "native"
    assert status_of(["convert", "bundled", str(native)]) == 0
    assert status_of(["info", str(native), "--why"]) == 0
    (native / "config.json").write_text("{}")
    capfd.readouterr()
    assert status_of(["info", str(native), "--why"]) == 1
    assert "config.json is not what was written" in capfd.readouterr().out


def landed_with(platforms: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from landed_jax.cli import main; main()", *arguments]
    environment = {**os.environ, "JAX_PLATFORMS": platforms}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.parametrize("arguments", [["info"], ["info", "bundled", "--why"]])
def test_info_needs_no_device(arguments: list[str]) -> None:
    done = landed_with("nonsense", *arguments)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("platforms", "arguments"),
    [
        ("nonsense", ["run", "x"]),
        ("nonsense", ["convert", "bundled", "NEW"]),
        ("nonsense", ["testbed", "train", "NEW"]),
        ("cuda", ["run", "x"]),
    ],
)
def test_a_platform_that_is_not_there_is_one_sentence(platforms: str, arguments: list[str], tmp_path: Path) -> None:
    if platforms == "cuda" and jax.default_backend() != "cpu":
        # There the platform may exist, and the run would not fail.
        pytest.skip("this machine has an accelerator, which may be the one that is asked for")
    done = landed_with(platforms, *(str(tmp_path / "new") if a == "NEW" else a for a in arguments))
    assert done.returncode == 2
    assert done.stderr.startswith(f"landed: JAX_PLATFORMS is '{platforms}', which JAX cannot use here: unset it")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_refusals_import_nothing_heavy(tmp_path: Path) -> None:
    code = "import sys; from landed_jax.cli.commands import status_of; print(status_of(sys.argv[1:]), *sys.modules)"
    for arguments in (
        ["verify", "bundled", "--against", str(tmp_path / "no-such")],
        ["run", "x", "--out", str(tmp_path / "x.csv")],
        ["run", "x", "--out", str(tmp_path / "no-such" / "x.nc")],
    ):
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
        said, *imported = done.stdout.split()
        assert said == "2" and done.stderr.startswith("landed: ")
        assert not {"jax", "numpy", "torch", "transformers"} & set(imported)
