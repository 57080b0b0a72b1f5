"""What a folder's files say is checked by kind, size and value before anything is allocated, looped over or opened."""

import dataclasses
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import pytest

from landed_jax.checkpoints.hf.gate import config_from_hf
from landed_jax.checkpoints.native import MANIFEST, read_manifest
from landed_jax.errors import LandedError
from landed_jax.files.checksums import sealed
from landed_jax.files.json_object import LARGEST, read_json_object
from landed_jax.loading import convert, load, read_config
from landed_jax.memory.estimates import trace_bytes
from landed_jax.nn.config import ModelConfig, RopeConfig
from landed_jax.nn.parameters import abstract_params, count_parameters, stack_layers
from tests.checkpoints import CONFIG, hf_config, make_tensors, write_checkpoint, write_index, write_shards
from tests.models import BIASED, CONFIGS

HUGE = (2**24 + 1, 2**31 - 1, 2**31, 2**63, 10**10, 10**100)
SIZES = {
    "n_layers": "num_hidden_layers",
    "vocab_size": "vocab_size",
    "d_model": "hidden_size",
    "d_ff": "intermediate_size",
    "n_heads": "num_attention_heads",
    "head_dim": "head_dim",
}


def refusal(read: Callable[[], object]) -> str:
    """The sentence, which takes the processor no time."""
    begun = time.process_time()
    with pytest.raises(LandedError) as caught:
        read()
    assert time.process_time() - begun < 5
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 6000
    return str(caught.value)


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("native")
    convert(write_checkpoint(folder / "src", make_tensors()[1]), folder / "dst")
    return folder / "dst"


def manifest(native: Path, tmp_path: Path, config: dict[str, Any]) -> Path:
    """A native folder's manifest with another config, whole in itself; the weights are not there."""
    values = json.loads((native / MANIFEST).read_text())
    del values["checksum"]
    (tmp_path / MANIFEST).write_text(json.dumps(sealed({**values, "config": config})))
    return tmp_path


@pytest.mark.quick
@pytest.mark.parametrize(("name", "size"), [(name, size) for name in SIZES for size in HUGE])
def test_huge_sizes_are_refused_at_once(native: Path, tmp_path: Path, name: str, size: int) -> None:
    field = SIZES[name]
    said = refusal(lambda: config_from_hf({**hf_config(CONFIG), field: size, "layer_types": ["full_attention"]}))
    assert f"{field} = {size}"[:60] in said or f"{name} is {size}"[:60] in said
    with pytest.raises(LandedError, match=f"{name} is {size}"[:60]):
        read_manifest(manifest(native, tmp_path, {**CONFIG.to_dict(), name: size}))
    with pytest.raises(LandedError, match=f"{name} is {size}"[:60]):
        dataclasses.replace(CONFIG, **{name: size})


def test_a_million_layers_are_no_model() -> None:
    assert "n_layers is 1000000" in refusal(lambda: config_from_hf({**hf_config(CONFIG), "num_hidden_layers": 10**6}))


def test_sizes_that_are_sound_only_one_by_one() -> None:
    widest = dict(vocab_size=2**24, d_model=2**19, d_ff=2**21, n_layers=2**12)
    for name in widest:
        assert dataclasses.replace(CONFIG, **{name: widest[name]})
    assert "more than 2**45 parameters" in refusal(lambda: dataclasses.replace(CONFIG, **widest))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("rope.theta", [1.0]),
        ("rope.theta", None),
        ("rope.theta", 10**300),
        ("rope.factor", {}),
        ("rope.kind", ["yarn"]),
        ("rope.kind", None),
        ("rope.original_max_positions", [16]),
        ("rope.original_max_positions", 2**63),
        ("rope.original_max_positions", 1.5),
        ("rope.truncate", 1),
        ("rope.beta_fast", "32"),
        ("rope", [1]),
        ("rope", None),
        ("norm_eps", [1]),
        ("norm_eps", 10**300),
        ("sliding_window", 2**31),
        ("sliding_window", [3]),
        ("attention_bias", "no"),
        ("tie_embeddings", 0),
        ("activation", {"silu": 1}),
        ("family", ["llama"]),
        ("n_layers", 3.0),
        ("unknown", 1),
    ],
)
def test_values_of_a_manifest_go_through_the_gate(native: Path, tmp_path: Path, place: str, value: Any) -> None:
    config = CONFIG.to_dict()
    *outer, name = place.split(".")
    (config[outer[0]] if outer else config)[name] = value
    said = refusal(lambda: read_manifest(manifest(native, tmp_path, config)))
    assert "is damaged: convert again" in said
    (config["rope"] if outer else config).pop(name)
    if name != "unknown" and place in ("rope", "n_layers"):
        assert "is damaged" in refusal(lambda: read_manifest(manifest(native, tmp_path, config)))


@pytest.mark.parametrize("rope", [RopeConfig("llama3", 1e4, 8.0, 16, 4.0, 1.0), RopeConfig("yarn", 1.0, 2.0, 16)])
def test_rotary_settings_that_divide_by_nothing_are_refused_in_both_forms(rope: RopeConfig) -> None:
    assert "cannot be" in refusal(lambda: dataclasses.replace(CONFIG, rope=rope))


def test_whole_numbers_become_floats_that_jax_takes() -> None:
    config = dataclasses.replace(CONFIG, norm_eps=1, rope=RopeConfig(theta=10**29, factor=2**64))
    assert type(config.norm_eps) is type(config.rope.theta) is type(config.rope.factor) is float


def nested(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


@pytest.mark.quick
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (nested(70), "nested too deeply"),
        (nested(900), "nested too deeply"),
        (nested(200_000), "nested too deeply"),
        ('{"a": ' + "[" * 500_000, "nested too deeply"),
        ('{"a": ' + "1" * 5000 + "}", "a whole number of 5,000 digits"),
        ('{"a": -' + "1" * 500 + "}", "a whole number of 501 digits"),
        ('{"a": "' + "b" * LARGEST + '"}', "no such file of a model has more than 16 MiB"),
        ("\ufeff{}", "cannot be read as JSON"),
        ("<!DOCTYPE html>", "is a web page"),
    ],
    ids=lambda value: value[:20],
)
def test_json_that_would_take_the_process_down(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "config.json").write_text(text)
    assert said in refusal(lambda: read_config(tmp_path))


def test_json_as_deep_as_models_have_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(nested(60))
    assert read_json_object(tmp_path / "a.json")


def test_floats_that_json_cannot_say(tmp_path: Path) -> None:
    for text in ("1e400", "-1e400", "NaN", "Infinity", "1e39", "1e-60"):
        values = {**hf_config(CONFIG), "rms_norm_eps": "EPS"}
        (tmp_path / "config.json").write_text(json.dumps(values).replace('"EPS"', text))
        assert "rms_norm_eps = " in refusal(lambda: read_config(tmp_path))


PLACES = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", MANIFEST)


def put(path: Path, kind: str) -> None:
    """Something else in the place of a file."""
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "8 GB":
        with path.open("wb") as file:
            file.truncate(8 << 30)
    else:
        path.symlink_to({"itself": path.name}.get(kind, kind))


@pytest.mark.quick
@pytest.mark.parametrize("kind", ["pipe", "folder", "8 GB", "nowhere", "itself", "/dev/zero", "/dev/random"])
@pytest.mark.parametrize("name", [*PLACES, "model.safetensors", "model.safetensors.index.json", "a shard"])
def test_what_is_no_file_of_a_model_is_refused_by_kind_and_size(tmp_path: Path, name: str, kind: str) -> None:
    if name in ("model.safetensors", *PLACES):
        write_checkpoint(tmp_path, make_tensors()[1])
    else:
        weights = write_shards(tmp_path, make_tensors()[1])
        name = weights["lm_head.weight"] if name == "a shard" else name
    put(tmp_path / name, kind)
    said = refusal(lambda: load(tmp_path).encode("a"))  # a model is opened for ids where its tokenizer cannot be read
    assert name in said
    kinds = ("not an ordinary file", "a link to nothing", "cannot be used", "no such file of a model has", "damaged")
    assert any(words in said for words in kinds)


@pytest.mark.parametrize("kind", ["pipe", "8 GB", "nowhere", "/dev/zero"])
@pytest.mark.parametrize("name", ["config.json", "params/_METADATA", "params/manifest.ocdbt"])
def test_and_so_it_is_in_a_native_folder(native: Path, tmp_path: Path, name: str, kind: str) -> None:
    folder = Path(shutil.copytree(native, tmp_path / "copy"))
    name = next(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.name == name.rpartition("/")[2]
    )
    put(folder / name, kind)
    refusal(lambda: load(folder))


@pytest.mark.parametrize("length", [2**24 + 1, 99_999_999, 2**63, 2**64 - 1])
def test_a_header_of_any_length_is_not_read(tmp_path: Path, length: int) -> None:
    write_checkpoint(tmp_path, make_tensors()[1])
    with (tmp_path / "model.safetensors").open("r+b") as file:
        file.write(length.to_bytes(8, "little"))
        file.truncate(10 << 30)
    assert "its header would have" in refusal(lambda: load(tmp_path))


def test_more_layers_than_the_files_can_hold(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, make_tensors()[1], dataclasses.replace(CONFIG, n_layers=4096))
    assert "the config has 4096 layers, and the files hold" in refusal(lambda: load(tmp_path))


def test_a_list_of_200_000_errors_is_cut(tmp_path: Path) -> None:
    weights = write_shards(tmp_path, make_tensors()[1])
    write_index(tmp_path, {**weights, **{f"extra.{i}": f"model-{i}.bin" for i in range(200_000)}})
    assert "and 199,988 more" in refusal(lambda: load(tmp_path))


def test_a_name_of_a_million_letters_is_cut(tmp_path: Path) -> None:
    weights = write_shards(tmp_path, make_tensors()[1])
    write_index(tmp_path, {**weights, "a" * 10**6: "b" * 10**6})
    refusal(lambda: load(tmp_path))
    write_index(tmp_path, {**weights, "a": "b" * 300 + ".safetensors"})
    assert "cannot be used: File name too long" in refusal(lambda: load(tmp_path))


def test_the_memory_of_a_deep_model_is_known_at_once() -> None:
    deep = dataclasses.replace(BIASED, n_layers=4096)
    begun = time.process_time()
    many, one = trace_bytes(deep, length=3), trace_bytes(dataclasses.replace(BIASED, n_layers=1), length=3)
    assert many["neuron"] == 4096 * one["neuron"]
    assert time.process_time() - begun < 10
    layer = count_parameters(dataclasses.replace(BIASED, n_layers=3)) - count_parameters(BIASED)
    assert count_parameters(deep) == count_parameters(BIASED) + 4094 * layer


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_stacked_shapes_are_those_of_stacked_parameters(config: ModelConfig) -> None:
    made = jax.eval_shape(stack_layers, abstract_params(config, "float16"))
    assert abstract_params(config, "float16", stacked=True) == made
