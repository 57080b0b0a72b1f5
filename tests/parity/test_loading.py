"""Folders that the reference loads although they are not as it would write them: the same logits, read by both."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM
from transformers.utils import logging

from landed_jax.errors import LandedWarning
from landed_jax.loading import load
from landed_jax.tokens import Tokens
from tests.parity.torch_model import hf_config, tiny_model, torch_logits

PROMPT = [3, 14, 15, 9, 2, 6, 5, 3]
Tensors = dict[str, torch.Tensor]
EMBEDDING, UNEMBEDDING = "model.embed_tokens.weight", "lm_head.weight"


def only_the_unembedding(tensors: Tensors) -> None:
    tensors[UNEMBEDDING] = tensors.pop(EMBEDDING)


def two_tables(tensors: Tensors) -> None:
    tensors[UNEMBEDDING] = tensors[EMBEDDING].flip(0).contiguous()


def the_base_models_names(tensors: Tensors) -> None:
    for name in list(tensors):
        tensors[name.removeprefix("model.")] = tensors.pop(name)


def old_constants(tensors: Tensors) -> None:
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)


def a_value_head(tensors: Tensors) -> None:
    tensors["v_head.summary.weight"] = torch.ones(1, 32)


def nothing(tensors: Tensors) -> None:
    pass


TIED = {"tie_word_embeddings": True}


def rope(kind: str, **settings: object) -> dict:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 50.0, **settings}}


OLD_LINEAR = {"type": "linear", "factor": 2.0, "beta_fast": 9, "finetuned": True}
CASES: dict[str, tuple[dict, dict, Callable[[Tensors], None], bool]] = {
    "spelling": ({}, {"architectures": ["LLaMAForCausalLM"]}, nothing, False),
    "base class": (TIED, {"architectures": ["LlamaModel"]}, the_base_models_names, False),
    "only the unembedding": (TIED, {}, only_the_unembedding, False),
    "two tables": (TIED, {}, two_tables, True),
    "old constants": ({}, {}, old_constants, False),
    "value head": ({}, {}, a_value_head, True),
    "default with a factor": ({}, rope("default", factor=4.0), nothing, True),
    "default with partial rotation": ({}, {"partial_rotary_factor": 0.5}, nothing, True),
    "linear with yarn's": ({}, {"rope_parameters": None, "rope_scaling": OLD_LINEAR}, nothing, True),
    "dynamic with an original length": (
        {"max_position_embeddings": 6},
        rope("dynamic", factor=2.0, original_max_position_embeddings=3),
        nothing,
        True,
    ),
    "trainers' fields": ({}, {"unsloth_version": "1", "axolotl_config": {"a": 1}}, nothing, False),
}


@pytest.fixture(autouse=True)
def without_its_log() -> Iterator[None]:
    """The reference warns of the same things, in a log."""
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    yield
    logging.set_verbosity(level)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("sharded", [False, True])
def test_both_read_the_same_model(case: str, sharded: bool, tmp_path: Path) -> None:
    fields, written, change, warned = CASES[case]
    tiny_model(hf_config("llama", **fields)).save_pretrained(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text()) | written
    (tmp_path / "config.json").write_text(json.dumps({k: v for k, v in values.items() if v is not None}))
    tensors = load_file(tmp_path / "model.safetensors")
    change(tensors)
    save(tensors, tmp_path, sharded)
    if warned:
        with pytest.warns(LandedWarning):
            model = load(tmp_path)
    else:
        model = load(tmp_path)
    assert bool(model.notes) == warned
    reference = AutoModelForCausalLM.from_pretrained(tmp_path, dtype="auto", attn_implementation="eager").eval()
    expected = torch_logits(reference, [PROMPT]).numpy()
    logits = np.asarray(model.trace(Tokens.from_lists([PROMPT]), record=()).logits)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


def save(tensors: Tensors, folder: Path, sharded: bool) -> None:
    """In one file, or in two whose index leaves out what no model uses."""
    (folder / "model.safetensors").unlink()
    if not sharded:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = sorted(tensors)
    weight_map = {}
    for i in (0, 1):
        file = f"model-0000{i + 1}-of-00002.safetensors"
        save_file({name: tensors[name] for name in names[i::2]}, folder / file, metadata={"format": "pt"})
        weight_map |= {name: file for name in names[i::2] if "rotary_emb" not in name}
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
