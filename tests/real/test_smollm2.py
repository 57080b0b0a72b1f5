"""A real public model, as people run it: quantised, 30 layers, grouped heads, tied embeddings."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind
from safetensors.numpy import load_file

import landed_jax as landed
from landed_jax.checkpoints.gguf.header import read_header
from landed_jax.checkpoints.hf.table import to_hf
from landed_jax.cli.commands import status_of
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import count_parameters
from tests.checkpoints import hf_config
from tests.gguf.files import write_gguf
from tests.gguf.merging import byte_level_ids
from tests.models import random_params
from tests.needs import needs_torch

pytestmark = pytest.mark.real

CAPITAL = "The capital of France is"
IOI = "Then, Mary and John went to the park. John gave a ball to"


def test_what_it_is(model: landed.Model) -> None:
    config = model.config
    assert (config.n_layers, config.n_heads, config.n_kv_heads, config.vocab_size) == (30, 9, 3, 49152)
    assert config.tie_embeddings and config.norm_eps == 1e-5
    assert count_parameters(config) == 134_515_008


def test_the_capital_of_france(
    smollm2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    target = str(tmp_path / "account.json")
    assert status_of(["run", CAPITAL, "--model", str(smollm2), "--json", target]) == 0
    account = json.loads(Path(target).read_text())
    assert account["target"]["text"] == " Paris"
    assert account["closure_error"] <= 1e-5 * abs(account["logit"])
    assert "".join(account["tokens"]) == CAPITAL
    shown = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 80 for line in shown[1:]) and "' Paris'" in "\n".join(shown)


def test_the_indirect_object(model: landed.Model) -> None:
    trace = model.trace(IOI, at=-1)
    assert float(landed.attribute(trace, " Mary", against=" John", effects=False).value[0, 0]) > 0
    assert model.vocabulary is not None
    assert model.vocabulary.text(trace.logits[0, -1].argmax()) == " Mary"


def test_closure_and_effects_by_brute_force(model: landed.Model, x64: None) -> None:
    """In float64: the writes sum to the logit difference, and 200 of them are removed one by one."""
    config, params = model.config, model.params
    trace = model.trace(IOI, at=-1, record=landed.WRITES | landed.RESIDUALS, dtype="float64")
    found = jax.device_get(landed.attribute(trace, " Mary", against=" John"))
    value = float(found.value[0, 0])
    assert abs(found.closure_error[0, 0]) <= 1e-11 * abs(value)

    rows = np.asarray(params["embed"]["W_E"], np.float64)  # tied
    direction = rows[int(found.target[0, 0])] - rows[int(found.against[0, 0])]
    gain = np.asarray(params["final_norm"]["gamma"], np.float64)
    stream = np.asarray(trace[landed.HookPoint.FINAL_RESIDUAL])[0, 0]

    def read(x: np.ndarray) -> float:
        return float(x * gain / np.sqrt(np.mean(x**2) + config.norm_eps) @ direction)

    assert abs(read(stream) - value) <= 1e-11 * abs(value)
    random = np.random.default_rng(0)
    heads, neurons = np.asarray(trace[landed.HookPoint.HEAD]), np.asarray(trace[landed.HookPoint.NEURON])
    assert found.direct_effect is not None
    for _ in range(100):
        layer, head, neuron = (int(random.integers(n)) for n in (config.n_layers, config.n_heads, config.d_ff))
        weights = params["layers"][str(layer)]
        write = np.asarray(weights["attn"]["W_O"][:, head], np.float64) @ heads[layer, 0, 0, head]
        effect = read(stream) - read(stream - write)
        assert abs(found.direct_effect.heads[layer, 0, 0, head] - effect) <= 1e-9
        write = np.asarray(weights["mlp"]["W_down"][:, neuron], np.float64) * neurons[layer, 0, 0, neuron]
        effect = read(stream) - read(stream - write)
        assert abs(found.direct_effect.neurons[layer, 0, 0, neuron] - effect) <= 1e-9


@needs_torch
def test_every_logit_is_that_of_transformers(model: landed.Model, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from landed_jax.parity.float64 import float64_throughout
    from tests.parity.torch_model import in_float64

    reference = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    ids = np.asarray(model.encode(IOI).ids)
    with torch.no_grad():
        expected = reference(torch.from_numpy(ids.astype(np.int64))).logits.numpy()
    logits = np.asarray(model.trace(ids, record=()).logits)
    assert logits.shape == (1, ids.size, 49152)
    assert np.abs(logits - expected).max() <= 2e-5 * np.abs(expected).max()
    wide = in_float64(reference)
    with torch.no_grad(), float64_throughout():
        expected = wide(torch.from_numpy(ids.astype(np.int64))).logits.numpy()
    with jax.enable_x64(True):
        logits = np.asarray(model.trace(ids, record=(), dtype="float64").logits)
    assert np.abs(logits - expected).max() <= 1e-10 * np.abs(expected).max()


@needs_torch
def test_the_weights_are_those_that_transformers_reads_from_the_file(smollm2: Path, folder: Path) -> None:
    """Its own reader: other code for names, order of rows and dequantisation."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    with torch.device("meta"):  # for its names alone
        empty = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    theirs = load_gguf_checkpoint(str(smollm2), return_tensors=True, model_to_load=empty)["tensors"]
    ours = load_file(folder / "model.safetensors")
    assert ours.keys() == theirs.keys() - {"lm_head.weight"}
    for name, tensor in ours.items():
        np.testing.assert_array_equal(tensor, theirs[name].float().numpy(), name)


def test_the_tokenizer_on_this_projects_pages(smollm2: Path, model: landed.Model) -> None:
    """Lines of text, tables and code, against plain Python."""
    from tests.gguf.test_tokenizer import SENTENCES

    fields = read_header(smollm2).fields
    vocab = {token: number for number, token in enumerate(fields["tokenizer.ggml.tokens"])}
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]]
    pages = [path.read_text() for path in sorted(Path(__file__).parents[2].rglob("*.md"))]
    lines = sorted({line for page in pages for line in page.splitlines()})[::3]
    plain = [sentence for sentence in SENTENCES if "<|" not in sentence]
    assert len(lines) > 300 and model.vocabulary is not None
    for line in [*lines, *plain]:
        assert model.vocabulary.encode(line) == byte_level_ids(line, vocab, merges, "smollm", whole_words=False)
        assert model.vocabulary.decode(model.vocabulary.encode(line)) == line
    chat = model.vocabulary.encode(model.vocabulary.chat("Hello"), add_special_tokens=False)
    assert chat.count(vocab["<|im_start|>"]) == 3 and chat.count(vocab["<|im_end|>"]) == 2


_MEASURED = """
import re, sys
from pathlib import Path
import landed_jax
landed_jax.load(sys.argv[1])
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak memory from Linux's /proc")
def test_loading_needs_the_parameters_and_one_layer(smollm2: Path, model: landed.Model, tmp_path: Path) -> None:
    """Against a tiny model with the same tokenizer, so that only the weights differ."""
    config = ModelConfig(
        vocab_size=49152, d_model=32, n_layers=1, n_heads=2, n_kv_heads=2, head_dim=16, d_ff=32, tie_embeddings=True
    )
    tensors = dict(to_hf(random_params(config, dtype=jnp.float32), config))
    fields = read_header(smollm2).fields
    kept = {name: value for name, value in fields.items() if name.startswith("tokenizer.")}
    values = {**hf_config(config), "rms_norm_eps": 1e-5}
    tiny = write_gguf(tmp_path / "tiny.gguf", values, tensors, Kind.Q4_1, more=kept)

    def peak(file: Path) -> int:
        environment = {**os.environ, "MALLOC_ARENA_MAX": "1", "JAX_PLATFORMS": "cpu"}
        command = [sys.executable, "-c", _MEASURED, str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        found = re.fullmatch(r"(\d+)\n", done.stdout)
        assert found is not None, done.stdout
        return 1024 * int(found[1])

    parameters = 4 * (count_parameters(model.config) - count_parameters(config))
    layer = 4 * (count_parameters(model.config) - 49152 * 576 - 576) // 30
    assert peak(smollm2) - peak(tiny) - parameters <= layer
