"""The commands as a user types them: exit codes, one plain sentence, nothing half-written."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from landed_jax.analysis.writes._write import describe
from landed_jax.checkpoints.bundle import bundled_folder
from landed_jax.checkpoints.hf.gate import config_from_hf
from landed_jax.checkpoints.hf.table import to_hf
from landed_jax.checkpoints.hf.writer import write_checkpoint
from landed_jax.cli.commands import status_of
from landed_jax.cli.output import write_text
from landed_jax.loading import load
from landed_jax.nn.parameters import unembedding
from landed_jax.report.account import account_for
from landed_jax.report.document import run_document
from landed_jax.report.headline import headline
from landed_jax.report.run_report import run_report
from landed_jax.tables.draw import text_of
from landed_jax.tables.screen import Screen
from tests.models import random_params
from tests.needs import needs_torch
from tests.reference.landed import every_write, landed_contributions, removed_effects, shares_of_sigma
from tests.reference.numpy_model import numpy_forward

PROMPT = "The Colosseum is in the city of"
MODEL = str(bundled_folder())


def run(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from landed_jax.cli import main; main()", *arguments]
    kind = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    return subprocess.run(command, capture_output=True, text=True, check=False, **kind)


@pytest.fixture(scope="session")
def document() -> dict:
    done = run("run", PROMPT, "--model", MODEL, "--json", "-")
    # Where compiling takes long, a line says so.
    assert (done.returncode, re.sub(r"landed: .*: 10 seconds so far\n", "", done.stderr)) == (0, "")
    return json.loads(done.stdout)


def test_json_is_the_contract(document: dict) -> None:
    keys = "model prompt tokens token_ids position target against logit sum_of_landed closure_error embedding bias"
    first = [*keys.split(), "heads", "mlp", "top_writes", "scale", "coordinates"]
    assert list(document)[: len(first)] == first  # fields may be added behind these
    row = ["kind", "layer", "index", "landed", "direct_effect", "sigma_share", "amplification"]
    assert all(list(write)[: len(row)] == row for write in document["top_writes"])
    assert [s["site"] for s in document["scale"]][:3] == ["0.attn", "0.mlp", "1.attn"]
    assert document["scale"][-1]["site"] == "final"
    assert set(document["coordinates"]) == {"for_50", "for_90", "for_99"}
    assert "".join(document["tokens"][1:]) == f" {PROMPT}"
    assert document["against"] is None
    assert document["position"] == len(document["tokens"]) - 1


def test_closes_and_agrees_with_an_independent_float64_reading(document: dict) -> None:
    assert document["closure_error"] <= 2e-5
    assert abs(document["sum_of_landed"] - document["logit"]) <= 2e-5
    model = load(MODEL, stacked=False)
    config, ids, position = model.config, np.array([document["token_ids"]]), document["position"]
    numbers = numpy_forward(model.params, ids, None, config)
    target = int(numbers["logits"][0, -1].argmax())
    assert document["target"]["id"] == target
    logit = numbers["logits"][0, -1, target]
    bar = 1e-4 * abs(logit)
    W_U = np.asarray(unembedding(model.params, model.config).W_U, np.float64)
    written = every_write(numbers, config, 0, position)
    landed = landed_contributions(written, numbers, W_U[target], config, 0, position)
    effects = removed_effects(written, numbers, W_U[target], config, 0, position)
    shares = shares_of_sigma(written, numbers, config, 0, position)
    of = {name: i for i, name in enumerate(written.names)}
    assert abs(document["logit"] - logit) <= bar
    assert abs(document["embedding"] - landed[0]) <= bar
    for layer in range(config.n_layers):
        for head in range(config.n_heads):
            assert abs(document["heads"][layer][head] - landed[of["head", layer, head]]) <= bar
        neurons = sum(landed[of["neuron", layer, j]] for j in range(config.d_ff))
        assert abs(document["mlp"][layer] - neurons) <= bar
    for site, row in enumerate(document["scale"]):
        sigma = numbers["sigma"][site, 0, position]
        assert row["sigma"] == pytest.approx(sigma, rel=1e-4)
        size = np.abs(numbers["gamma"][site]) / sigma
        for name, value in (("min", size.min()), ("median", np.median(size)), ("max", size.max())):
            assert row["amplification"][name] == pytest.approx(value, rel=1e-4)
    ranked = [i for i in np.argsort(-np.abs(landed)) if "bias" not in written.names[i][0]][:20]
    for row, i in zip(document["top_writes"], ranked, strict=True):
        assert (row["kind"], row["layer"], row["index"]) == written.names[i]
        assert abs(row["landed"] - landed[i]) <= bar
        assert abs(row["direct_effect"] - effects[i]) <= bar
        assert abs(row["sigma_share"] - shares[i]) <= 1e-4
        site = written.sites[i]
        median = np.median(np.abs(numbers["gamma"][site]) / numbers["sigma"][site, 0, position])
        assert row["amplification"] == pytest.approx(median, rel=1e-4)
    parts = numbers["residual"][-1, 0, -1] / numbers["sigma"][-1, 0, -1] * numbers["gamma"][-1] * W_U[target]
    sums = np.cumsum(parts[np.argsort(-np.abs(parts))])
    for percent in (50, 90, 99):
        assert document["coordinates"][f"for_{percent}"] == int(np.argmax(sums >= percent / 100 * logit)) + 1


def test_difference_file_and_table(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    arguments = ["--model", MODEL, "--target", " Rome", "--against", "#3", "--position", "3", "--top", "5"]
    done = run("run", *arguments, "--json", str(path), stdin=f"{PROMPT}\n")
    assert done.returncode == 0, done.stderr
    found = json.loads(path.read_text())
    assert (found["prompt"], found["position"]) == (PROMPT, 3)
    assert found["against"] == {"id": 3, "text": ","}
    assert len(found["top_writes"]) == 5
    assert abs(found["sum_of_landed"] - found["logit"]) <= 2e-5
    model = load(MODEL, stacked=False)
    logits = numpy_forward(model.params, np.array([found["token_ids"]]), None, model.config)["logits"][0, 3]
    assert found["logit"] == pytest.approx(logits[found["target"]["id"]] - logits[3], abs=1e-4)
    assert "direct effect" in done.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"]


def plain(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one sentence of a call that must fail."""
    assert status_of([str(a) for a in arguments]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("landed: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err


@pytest.mark.quick
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "x", "--target", " Rome "], "token"),
        (["run", "x", "--model", "/no/such/folder"], "no folder"),
        (["run", "x", "--model", "no-such-owner/no-such-model"], "convert"),
        (["run", "x", "--model", "MODEL", "--position", "99"], "99"),
        (["run", "x", "--model", "MODEL", "--target", " Rome and"], "' Rome' + ' and'"),
        (["run", "x", "--model", "MODEL", "--target", "little"], "' little'"),
        (["run", "x", "--model", "MODEL", "--target", ""], "token"),
        (["run", "x", "--model", "MODEL", "--target", "#1537"], "1536"),
        (["run", "x", "--model", "MODEL", "--target", ",", "--against", ","], "same token"),
        (["run", "x", "--model", "MODEL", "--json", "/no/such/folder/x.json"], "does not exist"),
        (["run", "\udcff", "--model", "MODEL"], "UTF-8"),
        (["run", "x", "--model", "MODEL", "--top", "-1"], "--top"),
        (["run", "x", "--modle", "MODEL"], "modle"),
        (["walk"], "walk"),
        (["convert", "MODEL"], "DST"),
        (["convert", "MODEL", "MODEL"], "already there"),
        (["verify", "MODEL", "--against", "/no/such/folder"], "not a folder"),
        (["info", "/no/such/folder"], "no folder"),
        (["info", "m[/b]x"], "m[/b]x"),
    ],
)
def test_bad_input_is_one_plain_sentence(arguments: list[str], message: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert message in plain(capfd, *(MODEL if a == "MODEL" else a for a in arguments))


def test_convert_then_run_and_info(tmp_path: Path, document: dict, capfd: pytest.CaptureFixture[str]) -> None:
    native = str(tmp_path / "native")
    assert status_of(["convert", MODEL, native]) == 0
    assert status_of(["info", native, "--length", "7"]) == 0
    assert "1,181,056" in capfd.readouterr().out
    assert status_of(["run", PROMPT, "--model", native, "--json", "-"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert {**found, "model": ""} == {**document, "model": ""}


@needs_torch
def test_a_converted_model_is_verified(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    native = str(tmp_path / "native")
    assert status_of(["convert", MODEL, native]) == 0
    capfd.readouterr()
    assert status_of(["verify", native, "--against", MODEL, "--length", "6"]) == 0
    assert "Equal at every rung" in capfd.readouterr().out


@needs_torch
def test_verify_names_the_first_failing_rung(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (other / name).write_bytes((bundled_folder() / name).read_bytes())
    tensors = load_file(bundled_folder() / "model.safetensors")
    tensors["model.layers.2.mlp.down_proj.weight"] = tensors["model.layers.2.mlp.down_proj.weight"] * 1.01
    save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    assert status_of(["verify", MODEL, "--against", str(other), "--length", "6"]) == 1
    assert "first rung that differs is 2.mlp_out" in capfd.readouterr().out


def test_a_closed_pipe_is_no_error() -> None:
    command = f'"{sys.executable}" -c "from landed_jax.cli import main; main()" info "{MODEL}" | head -c 1'
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_help_shows_examples() -> None:
    done = run("run", "--help")
    assert done.returncode == 0
    assert "Examples:" in done.stdout


def test_importing_the_package_imports_no_torch() -> None:
    code = "import sys, landed_jax; assert not {'torch', 'transformers', 'orbax'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture(scope="session")
def biased(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with every bias, with the bundled model's tokenizer, in Hugging Face layout."""
    folder = tmp_path_factory.mktemp("biased")
    sizes = {"vocab_size": 1537, "hidden_size": 16, "intermediate_size": 12, "num_hidden_layers": 2}
    config = {"model_type": "llama", "num_attention_heads": 4, "num_key_value_heads": 2, **sizes}
    config |= {"attention_bias": True, "mlp_bias": True, "max_position_embeddings": 4}
    config["rope_scaling"] = {"type": "dynamic", "factor": 2.0}
    (folder / "config.json").write_text(json.dumps(config))
    tensors = to_hf(random_params(config_from_hf(config)), config_from_hf(config))
    save_file({name: np.array(value) for name, value in tensors.items()}, folder / "model.safetensors")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((bundled_folder() / name).read_bytes())
    return folder


def test_the_account_of_a_difference_in_a_model_with_biases(biased: Path) -> None:
    model = load(biased)
    account = account_for(model, PROMPT, target=" little", against=",", position=4)
    found = run_document(account, 5)
    numbers = numpy_forward(model.params, np.array([account.token_ids]), None, model.config)
    ids = [model.vocabulary.token_id(text) for text in (" little", ",")]
    u = np.asarray(model.params["unembed"]["W_U"], np.float64)[ids]
    written = every_write(numbers, model.config, 0, 4)
    landed = landed_contributions(written, numbers, u[0] - u[1], model.config, 0, 4)
    logit = landed.sum()
    bias = sum(v for name, v in zip(written.names, landed, strict=True) if "bias" in name[0])
    assert found["logit"] == pytest.approx(logit, abs=1e-5)
    assert found["bias"] == pytest.approx(bias, abs=1e-5)
    assert abs(bias) > 1e-2
    parts = numbers["residual"][-1, 0, 4] / numbers["sigma"][-1, 0, 4] * numbers["gamma"][-1] * (u[0] - u[1])
    sums = np.cumsum(parts[np.argsort(-np.abs(parts))])
    for percent in (50, 90, 99):
        reached = np.argmax(sums * np.sign(logit) >= percent / 100 * abs(logit)) + 1
        assert found["coordinates"][f"for_{percent}"] == reached
    assert account.difference is None
    assert "4 this model was made for" in account.warnings[0]


def test_the_table_shows_the_runner_up_and_direct_effects(biased: Path) -> None:
    model = load(biased)
    account = account_for(model, PROMPT)
    ids = np.array([account.token_ids])
    numbers = numpy_forward(model.params, ids, None, model.config)
    ranked = np.argsort(-numbers["logits"][0, -1])
    first, second = np.asarray(model.params["unembed"]["W_U"], np.float64)[ranked[:2]]
    written = every_write(numbers, model.config, 0, -1)
    columns = []
    for u in (first, first - second):
        columns.append(landed_contributions(written, numbers, u, model.config, 0, -1))
        columns.append(removed_effects(written, numbers, u, model.config, 0, -1))
    behind = text_of(headline(account_for(model, PROMPT, target=f"#{ranked[-1]}")), Screen(80))
    assert f"behind {account.token(account.attribution, 'target')['text']!r}" in behind
    assert f"number {len(ranked):,} of {len(ranked):,} tokens" in behind
    for width in (80, 160):
        lines = text_of(run_report(account, 6), Screen(width)).splitlines()
        for row in account.attribution.top(6):
            i = written.names.index((row.kind, row.layer, row.index))
            line = next(line for line in lines if line.split()[:1] == [describe(row)])
            shown = [float(cell) for cell in line.split() if re.fullmatch(r"[+-]\d+\.\d{4}", cell)]
            np.testing.assert_allclose(shown, [column[i] for column in columns], atol=2e-4)
    for layer in range(2):
        stream, sigma = numbers["residual"][-1, 0, -1], numbers["sigma"][-1, 0, -1]
        without = stream - numbers["head_write"][layer, 0, -1].sum(0) - numbers["attn_bias"][layer, 0, -1]
        scale = np.sqrt(np.mean(without**2) + model.config.norm_eps)
        effect = (stream / sigma - without / scale) * numbers["gamma"][-1] @ first
        assert account.layer_effects[layer, 0] == pytest.approx(effect, abs=1e-4)


def test_json_through_a_link_and_into_a_pipe(tmp_path: Path) -> None:
    real, link = tmp_path / "real.json", tmp_path / "link.json"
    real.write_text("old")
    link.symlink_to(real)
    write_text('{"a": 1}', str(link))
    assert link.is_symlink()
    assert json.loads(real.read_text()) == {"a": 1}
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    with subprocess.Popen(["cat", str(fifo)], stdout=subprocess.PIPE, text=True) as reader:
        write_text('{"b": 2}', str(fifo))
        assert json.loads(reader.communicate()[0]) == {"b": 2}


@needs_torch
def test_verify_runs_each_prompt_alone_and_refuses_other_models(
    biased: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # Dynamic scaling beyond the length the model was made for, in a batch of unequal prompts.
    assert status_of(["verify", str(biased), "--against", str(biased), "--length", "9"]) == 0
    capfd.readouterr()
    assert "another model" in plain(capfd, "verify", str(biased), "--against", MODEL)
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "config.json").write_bytes((biased / "config.json").read_bytes())
    (pickled / "pytorch_model.bin").write_bytes(b"never opened")
    assert "executes whatever code" in plain(capfd, "verify", str(biased), "--against", str(pickled))


def test_a_model_that_overflows_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    bundled = load("bundled")
    params = jax.tree.map(lambda leaf: leaf * np.float32(1e19), bundled.params)
    folder = tmp_path / "model"
    folder.mkdir()
    write_checkpoint(folder, bundled.config, params)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(bundled_folder() / name, folder / name)
    for option in ([], ["--json", str(tmp_path / "a.json")], ["--out", str(tmp_path / "a.nc")]):
        assert status_of(["run", "The Colosseum is in the city of", "--model", str(folder), *option]) == 2
        assert "float32 overflows" in capfd.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_tokenizer_settings_that_cannot_be_used(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = Path(shutil.copytree(bundled_folder(), tmp_path / "model", copy_function=shutil.copyfile))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "model_max_length": "long"}))
    assert status_of(["run", "Rome", "--model", str(folder)]) == 2
    assert "The tokenizer in" in capfd.readouterr().err
