"""Checkpoints that other programs write: names with prefixes, tied tables, indexes, and which fault is said first."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from landed_jax.checkpoints.hf.survey import survey_checkpoint
from landed_jax.checkpoints.notes import Notes
from landed_jax.errors import LandedError
from tests.checkpoints import (
    CONFIG,
    assert_same,
    make_tensors,
    read_folder,
    write_checkpoint,
    write_index,
    write_shards,
)

TIED = dataclasses.replace(CONFIG, tie_embeddings=True)
EMBEDDING, UNEMBEDDING = "model.embed_tokens.weight", "lm_head.weight"
INV_FREQ = "model.layers.0.self_attn.rotary_emb.inv_freq"


def refusal(folder: Path, config=CONFIG) -> str:
    with pytest.raises(LandedError) as caught:
        read_folder(folder, config)
    return str(caught.value)


def notes_of(folder: Path, config=CONFIG) -> list[str]:
    notes = Notes()
    assert survey_checkpoint(folder, config, notes).problems == []
    return notes.texts


def base_name(name: str) -> str:
    return name.removeprefix("model.")


RENAMED = {
    "_orig_mod.": lambda name: f"_orig_mod.{name}",
    "module.": lambda name: f"module.{name}",
    "base_model.model.": lambda name: f"base_model.model.{name}",
    "_orig_mod. and module.": lambda name: f"module._orig_mod.{name}",
    # torch.compile and FSDP wrap parts of a model too
    "_orig_mod": lambda name: name.replace("self_attn.", "self_attn._orig_mod."),
    "_fsdp_wrapped_module.": lambda name: re.sub(r"(layers\.\d+\.)", r"\1_fsdp_wrapped_module.", name),
    "_checkpoint_wrapped_module.": lambda name: re.sub(r"(layers\.\d+\.)", r"\1_checkpoint_wrapped_module.", name),
    "language_model.": lambda name: f"language_model.{name}",
    "base_model.model. and language_model.": lambda name: f"base_model.model.language_model.{name}",
    "base_model.model. and module.": lambda name: f"module.base_model.model.{base_name(name)}",
}


@pytest.mark.parametrize("wrapper", RENAMED)
def test_names_with_a_wrappers_prefix(tmp_path: Path, wrapper: str) -> None:
    params, tensors = make_tensors()
    write_checkpoint(tmp_path, {RENAMED[wrapper](name): tensor for name, tensor in tensors.items()})
    assert_same(read_folder(tmp_path), params)
    (said,) = notes_of(tmp_path)
    assert f"without {wrapper}" in said


def test_the_base_models_own_weights(tmp_path: Path) -> None:
    params, tensors = make_tensors(TIED)
    write_checkpoint(tmp_path, {base_name(name): tensor for name, tensor in tensors.items()}, TIED)
    assert_same(read_folder(tmp_path, TIED), params)
    assert notes_of(tmp_path, TIED) == []
    # Without a tie they lack the unembedding, in place of which the reference would take random numbers.
    assert f"{UNEMBEDDING} [24, 16] is missing" in refusal(tmp_path)


def test_two_names_for_one_tensor_are_refused(tmp_path: Path) -> None:
    _, tensors = make_tensors()
    tensors["module.model.norm.weight"] = tensors["model.norm.weight"] * 2
    message = refusal(write_checkpoint(tmp_path, tensors))
    assert "model.norm.weight and module.model.norm.weight are one tensor under two names" in message


@pytest.mark.parametrize(
    ("rename", "said"),
    [
        (lambda name: f"text_model.{name}", "begin with text_model.: write the model without this prefix."),
        (lambda name: f"a.b.{base_name(name)}", "begin with a.b.: write the model without this prefix."),
        (
            lambda name: name.replace("embed_tokens", "wte").replace("model.", "gpt."),
            "another kind of model: none of this one's tensors is there, but",
        ),
        (
            lambda name: name.replace("q_proj", "q_proj.base_layer"),
            "an adapter that is not merged into them (model.layers.0.self_attn.q_proj.base_layer.weight, ",
        ),
    ],
)
def test_names_that_have_one_cause_are_one_sentence(tmp_path: Path, rename, said: str) -> None:
    _, tensors = make_tensors()
    tensors = {rename(name): tensor for name, tensor in tensors.items() if "lm_head" not in name}
    message = refusal(write_checkpoint(tmp_path, tensors))
    assert said in message
    assert "missing" not in message and "left over" not in message and ";" not in message


def test_a_tied_model_may_hold_either_name(tmp_path: Path) -> None:
    params, tensors = make_tensors(TIED)
    tensors[UNEMBEDDING] = tensors.pop(EMBEDDING)
    assert_same(read_folder(write_checkpoint(tmp_path, tensors, TIED), TIED), params)
    assert notes_of(tmp_path, TIED) == []
    del tensors[UNEMBEDDING]
    assert f"{EMBEDDING} [24, 16] is missing" in refusal(write_checkpoint(tmp_path, tensors, TIED), TIED)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_tied_model_may_hold_the_table_twice(tmp_path: Path, dtype: str) -> None:
    params, tensors = make_tensors(TIED)
    tensors[UNEMBEDDING] = tensors[EMBEDDING].astype(dtype)
    assert_same(read_folder(write_checkpoint(tmp_path, tensors, TIED), TIED), params)
    assert notes_of(tmp_path, TIED) == []


def test_a_tied_model_with_two_tables_is_untied(tmp_path: Path) -> None:
    params, tensors = make_tensors()
    tensors[EMBEDDING] = tensors[UNEMBEDDING].copy()
    tensors[EMBEDDING][5, 5] += 1e-6
    write_checkpoint(tmp_path, tensors, TIED)
    survey = survey_checkpoint(tmp_path, TIED)
    assert survey.config == CONFIG
    assert np.array_equal(read_folder(tmp_path, TIED)["embed"]["W_E"], tensors[EMBEDDING])
    assert np.array_equal(read_folder(tmp_path, TIED)["unembed"]["W_U"], params["unembed"]["W_U"])
    (said,) = notes_of(tmp_path, TIED)
    assert f"ties {UNEMBEDDING} to {EMBEDDING}" in said
    tensors[UNEMBEDDING] = tensors[UNEMBEDDING][1:].copy()
    assert "lm_head.weight has shape [23, 16], not [24, 16]" in refusal(write_checkpoint(tmp_path, tensors, TIED), TIED)


@pytest.mark.parametrize(
    "name",
    [
        INV_FREQ,
        "model.rotary_emb.inv_freq",
        "module.model.layers.9.self_attn.rotary_emb.inv_freq",
        "model.layers.1.self_attn.rotary_emb.cos_cached",
        "model.position_ids",
    ],
)
def test_constants_of_old_checkpoints_are_skipped(tmp_path: Path, name: str) -> None:
    params, tensors = make_tensors()
    assert_same(read_folder(write_checkpoint(tmp_path, tensors | {name: np.ones(3, np.float32)})), params)
    assert notes_of(tmp_path) == []


def test_a_value_head_is_left_out(tmp_path: Path) -> None:
    params, tensors = make_tensors()
    write_checkpoint(tmp_path, tensors | {"v_head.summary.weight": np.ones((1, 16), np.float32)})
    assert_same(read_folder(tmp_path), params)
    assert "v_head.summary.weight" in notes_of(tmp_path)[0]


def test_an_index_may_be_wrong_about_what_is_not_used(tmp_path: Path) -> None:
    params, tensors = make_tensors()
    weight_map = write_shards(tmp_path, tensors | {INV_FREQ: np.ones(3, np.float32)})
    shard = weight_map.pop(INV_FREQ)
    write_index(tmp_path, weight_map)  # omits it
    assert_same(read_folder(tmp_path), params)
    write_index(tmp_path, weight_map | {INV_FREQ.replace("0", "1"): shard})  # lists another
    assert_same(read_folder(tmp_path), params)


def test_a_tied_index_may_list_the_unembedding(tmp_path: Path) -> None:
    params, tensors = make_tensors(TIED)
    weight_map = write_shards(tmp_path, tensors, TIED)
    write_index(tmp_path, {**weight_map, UNEMBEDDING: weight_map[EMBEDDING]})
    assert_same(read_folder(tmp_path, TIED), params)


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
INSTEAD = {
    "a git-lfs pointer": POINTER,
    "an empty file": b"",
    "a web page": b"\n<!doctype html>\n<html><body>Not found</body></html>",
    "a zip or pickle file": b"PK\x03\x04" + bytes(100),
    "a GGUF file": b"GGUF" + bytes(100),
}


@pytest.mark.parametrize("what", INSTEAD)
@pytest.mark.parametrize("sharded", [False, True])
def test_a_file_that_is_something_else_is_the_one_reason(tmp_path: Path, what: str, sharded: bool) -> None:
    _, tensors = make_tensors()
    (write_shards if sharded else write_checkpoint)(tmp_path, tensors)
    file = min(tmp_path.glob("*.safetensors"))
    file.write_bytes(INSTEAD[what])
    message = refusal(tmp_path)
    assert f"cannot be read: the file {file.name} is {what}" in message
    assert "missing" not in message
    (tmp_path / "config.json").write_bytes(INSTEAD[what])
    from landed_jax.files.json_object import read_json_object

    with pytest.raises(LandedError, match=rf"config\.json is {what}"):
        read_json_object(tmp_path / "config.json")


def test_a_missing_shard_explains_its_own_tensors_and_no_others(tmp_path: Path) -> None:
    _, tensors = make_tensors()
    elsewhere = "model.layers.1.mlp.up_proj.weight"
    weight_map = write_shards(tmp_path, {name: tensor for name, tensor in tensors.items() if name != elsewhere})
    shard = weight_map["model.norm.weight"]
    (tmp_path / shard).unlink()
    message = refusal(tmp_path)
    assert message.endswith(f"cannot be read: the file {shard} is missing; {elsewhere} [20, 16] is missing.")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("model-00001-of-00002.safetensors", "without their index"),
        ("consolidated.safetensors", "holds consolidated.safetensors, but no model.safetensors"),
        ("model.gguf", "holds model.gguf, but no model.safetensors"),
        ("pytorch_model.bin", "executes whatever code is in it"),
    ],
)
def test_weights_under_other_names(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / name).write_bytes(b"never opened")
    assert said in refusal(tmp_path)


def test_twelve_reasons_are_said_and_the_rest_are_counted(tmp_path: Path) -> None:
    _, tensors = make_tensors()
    kept = {name: tensor for name, tensor in tensors.items() if "layers" not in name}
    with pytest.raises(LandedError) as caught:
        read_folder(write_checkpoint(tmp_path, kept))
    assert len(caught.value.problems) == 27
    assert str(caught.value).count("is missing") == 12
    assert str(caught.value).endswith("and 15 more: landed info MODEL --why lists all.")


def test_no_tensors_in_a_file_that_can_be_read(tmp_path: Path) -> None:
    _, tensors = make_tensors()
    weight_map = write_shards(tmp_path, tensors)
    shard = weight_map["model.norm.weight"]
    save_file({}, tmp_path / shard)
    message = refusal(tmp_path)
    assert f"model.norm.weight is not in {shard}" in message and "is missing" not in message
