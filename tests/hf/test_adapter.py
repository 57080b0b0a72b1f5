"""LoRA adapters: merged by the formula, in NumPy's float64, or refused by name."""

import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from landed_jax.checkpoints.hf import files
from landed_jax.checkpoints.hf.adapter import merge_adapter
from landed_jax.checkpoints.hf.reader import read_params
from landed_jax.checkpoints.hf.survey import survey_checkpoint
from landed_jax.checkpoints.hf.table import to_hf
from landed_jax.checkpoints.notes import Notes
from landed_jax.errors import LandedError
from landed_jax.loading import convert, load
from tests.checkpoints import CONFIG, assert_same, make_tensors, write_checkpoint

RANK, ALPHA = 3, 5
Q, DOWN = "model.layers.0.self_attn.q_proj", "model.layers.2.mlp.down_proj"
UP = "model.layers.1.mlp.up_proj"


def write_adapter(
    folder: Path, ranks: dict[str, int], tensors: dict[str, np.ndarray], dtype: str = "float32", **settings
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Write an adapter for these modules, of these ranks; A and B by module."""
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(0)
    factors, stored = {}, {}
    for module, rank in ranks.items():
        rows, columns = tensors[f"{module}.weight"].shape
        down = random.normal(size=(rank, columns)).astype(jnp.dtype(dtype))
        up = random.normal(size=(rows, rank)).astype(jnp.dtype(dtype))
        factors[module] = (down, up)
        stored |= {f"base_model.model.{module}.lora_A.weight": down, f"base_model.model.{module}.lora_B.weight": up}
    save_file(stored, folder / "adapter_model.safetensors")
    plain = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "target_modules": ["q_proj"], "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(plain | settings))
    return factors


def merged(folder: Path, adapter: Path, **how) -> dict[str, np.ndarray]:
    survey = merge_adapter(survey_checkpoint(folder, CONFIG), adapter, Notes())
    return to_hf(read_params(survey, **how), CONFIG)


def refusal(folder: Path, adapter: Path, config=CONFIG) -> str:
    with pytest.raises(LandedError) as caught:
        merge_adapter(survey_checkpoint(folder, config), adapter, Notes())
    return str(caught.value)


CASES = {
    "plain": ({Q: RANK, DOWN: RANK, "lm_head": RANK}, {}, lambda module: ALPHA / RANK),
    "rslora": ({Q: RANK, DOWN: RANK}, {"use_rslora": True}, lambda module: ALPHA / math.sqrt(RANK)),
    "patterns": (
        {Q: 2, UP: RANK, DOWN: 4},
        {
            "rank_pattern": {"q_proj": 2, "^model.layers.2.mlp.down_proj": 4, "^up_proj": 9},
            "alpha_pattern": {"layers.2.mlp.down_proj": 7, "p_proj": 9},
        },
        lambda module: {Q: ALPHA / 2, UP: ALPHA / RANK, DOWN: 7 / 4}[module],
    ),
    "what says nothing": (
        {Q: RANK},
        {"init_lora_weights": "gaussian", "fan_in_fan_out": False, "modules_to_save": None, "megatron_core": "x",
         "lora_dropout": 0.1, "layer_replication": [], "alora_invocation_tokens": None, "task_type": "CAUSAL_LM"},
        lambda module: ALPHA / RANK,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("stacked", [False, True])
def test_merged_weights_are_the_formulas(tmp_path: Path, case: str, stacked: bool, monkeypatch) -> None:
    monkeypatch.setattr(files, "_CHUNK", 200)  # rows are merged a few at a time
    ranks, settings, scale = CASES[case]
    _, tensors = make_tensors()
    write_checkpoint(tmp_path / "model", tensors)
    factors = write_adapter(tmp_path / "lora", ranks, tensors, **settings)
    found = merged(tmp_path / "model", tmp_path / "lora", stacked=stacked)
    for name, tensor in tensors.items():
        module = name.removesuffix(".weight")
        if module in factors:
            down, up = (x.astype(np.float64) for x in factors[module])
            expected = tensor.astype(np.float64) + scale(module) * up @ down
            assert np.array_equal(found[name], expected.astype(np.float32)), name
            assert not np.array_equal(found[name], tensor)
        else:
            assert np.array_equal(found[name], tensor), name


@pytest.mark.parametrize("stacked", [False, True])
def test_slices_on_a_mesh_are_merged(tmp_path: Path, stacked: bool) -> None:
    _, tensors = make_tensors()
    write_checkpoint(tmp_path / "model", tensors)
    write_adapter(tmp_path / "lora", {Q: RANK, DOWN: RANK, Q.replace("q_", "o_"): RANK, "lm_head": RANK}, tensors)
    mesh = jax.make_mesh((2,), ("model",), devices=jax.devices()[:2])
    whole, cut = (merged(tmp_path / "model", tmp_path / "lora", stacked=stacked, mesh=m) for m in (None, mesh))
    assert all(np.array_equal(whole[name], cut[name]) for name in tensors)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_types_are_rounded_once(tmp_path: Path, dtype: str) -> None:
    _, tensors = make_tensors(dtype=dtype)
    write_checkpoint(tmp_path / "model", tensors)
    down, up = write_adapter(tmp_path / "lora", {Q: RANK}, tensors, dtype)[Q]
    weight = tensors[f"{Q}.weight"]
    exact = weight.astype(np.float64) + ALPHA / RANK * up.astype(np.float64) @ down.astype(np.float64)
    found = merged(tmp_path / "model", tmp_path / "lora")[f"{Q}.weight"]
    assert found.dtype == weight.dtype and np.array_equal(found, exact.astype(weight.dtype))


def test_copies_of_the_models_own_weights_pass(tmp_path: Path) -> None:
    """PEFT saves an adapted unembedding, and embeddings, beside their adapter."""
    _, tensors = make_tensors()
    write_checkpoint(tmp_path / "model", tensors)
    factors = write_adapter(tmp_path / "lora", {"lm_head": RANK}, tensors)
    expected = merged(tmp_path / "model", tmp_path / "lora")
    pair = dict(zip(("lora_A", "lora_B"), factors["lm_head"], strict=True))
    stored = {f"base_model.model.lm_head.{which}.weight": tensor for which, tensor in pair.items()}
    stored["base_model.model.lm_head.base_layer.weight"] = tensors["lm_head.weight"]
    stored["base_model.model.model.embed_tokens.weight"] = tensors["model.embed_tokens.weight"]
    save_file(stored, tmp_path / "lora" / "adapter_model.safetensors")
    found = merged(tmp_path / "model", tmp_path / "lora")
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_names_as_peft_and_trainers_write_them(tmp_path: Path) -> None:
    _, tensors = make_tensors()
    write_checkpoint(tmp_path / "model", tensors)
    factors = write_adapter(tmp_path / "lora", {Q: RANK}, tensors)
    expected = merged(tmp_path / "model", tmp_path / "lora")
    down, up = factors[Q]
    for name in (f"{Q}.lora_A.weight", f"base_model.model.{Q}.lora_A.default.weight",
                 "base_model.model.layers.0.self_attn.q_proj.lora_A.weight"):  # fmt: skip
        pair = {name: down, name.replace("lora_A", "lora_B"): up}
        save_file(pair, tmp_path / "lora" / "adapter_model.safetensors")
        found = merged(tmp_path / "model", tmp_path / "lora")
        assert all(np.array_equal(found[n], expected[n]) for n in expected)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"peft_type": "IA3"}, "peft_type = 'IA3' (only LORA"),
        ({"peft_type": None}, "peft_type = None"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out = True (not honoured"),
        ({"use_dora": True}, "use_dora = True (not honoured"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save = ['lm_head']"),
        ({"bias": "all"}, "bias = 'all'"),
        ({"lora_bias": True}, "lora_bias = True"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights = 'pissa_niter_4' (it changed the base"),
        ({"init_lora_weights": "olora"}, "init_lora_weights = 'olora'"),
        ({"layer_replication": [[0, 2]]}, "layer_replication = [[0, 2]]"),
        ({"some_new_option": 3}, "some_new_option = 3"),
        ({"r": "3"}, "r = '3' (not a positive whole number)"),
        ({"lora_alpha": None}, "lora_alpha = None (not a number)"),
        ({"use_rslora": 1}, "use_rslora = 1 (not true or false)"),
        ({"rank_pattern": {"q_.*": 2}}, "rank_pattern has the key 'q_.*', which is not a module's name"),
        ({"alpha_pattern": {"q_proj": "2"}}, "alpha_pattern has '2' for q_proj"),
        ({"rank_pattern": [2]}, "rank_pattern = [2] (not an object)"),
        ({"rank_pattern": {"q_proj": 2}}, "have shapes [3, 16] and [24, 3], not [2, 16] and [24, 2]"),
    ],
    ids=str,
)
def test_settings_that_are_refused(tmp_path: Path, settings: dict, said: str) -> None:
    _, tensors = make_tensors()
    write_checkpoint(tmp_path / "model", tensors)
    write_adapter(tmp_path / "lora", {Q: RANK}, tensors, **settings)
    assert said in refusal(tmp_path / "model", tmp_path / "lora")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop(f"base_model.model.{Q}.lora_B.weight"), "without the other half of its pair"),
        (lambda t: t.clear(), "holds no tensors"),
        (lambda t: t.update({"base_model.model.lm_head.weight": np.ones((24, 16))}), "is not the model's own lm_head"),
        (lambda t: t.update({"lm_head.base_layer.weight": np.ones((25, 16))}), "is not the model's own lm_head.weight"),
        (
            lambda t: t.update({"base_model.model.model.embed_tokens.lora_embedding_A": np.ones((3, 24))}),
            "is neither a lora_A nor a lora_B",
        ),
        (
            lambda t: t.update({"base_model.model.model.layers.3.self_attn.q_proj.lora_A.weight": np.ones((3, 16))}),
            "layers.3.self_attn.q_proj, which is no linear weight of this model",
        ),
        (lambda t: t.update({"model.norm.lora_A.weight": np.ones((3, 16))}), "which is no linear weight"),
        (lambda t: t.update({f"{Q}.lora_A.weight": np.ones((3, 16))}), "is there under two names"),
        (
            lambda t: t.update({f"{DOWN}.lora_A.weight": np.ones((3, 20), np.int8)}),
            "I8 [3, 20], not a matrix of floats",
        ),
    ],
)
def test_tensors_that_are_refused(tmp_path: Path, change, said: str) -> None:
    from safetensors.numpy import load_file

    _, tensors = make_tensors()
    write_checkpoint(tmp_path / "model", tensors)
    write_adapter(tmp_path / "lora", {Q: RANK}, tensors)
    file = tmp_path / "lora" / "adapter_model.safetensors"
    held = load_file(file)
    change(held)
    save_file(held, file)
    assert said in refusal(tmp_path / "model", tmp_path / "lora")


def test_an_unembedding_that_is_tied_cannot_be_adapted(tmp_path: Path) -> None:
    import dataclasses

    tied = dataclasses.replace(CONFIG, tie_embeddings=True)
    _, tensors = make_tensors(tied)
    write_checkpoint(tmp_path / "model", tensors, tied)
    head = {"lm_head.weight": tensors["model.embed_tokens.weight"]}
    write_adapter(tmp_path / "lora", {"lm_head": RANK}, head)
    assert "which is tied to" in refusal(tmp_path / "model", tmp_path / "lora", tied)


def test_files_that_are_missing_or_pickles(tmp_path: Path) -> None:
    _, tensors = make_tensors()
    write_checkpoint(tmp_path / "model", tensors)
    write_adapter(tmp_path / "lora", {Q: RANK}, tensors)
    (tmp_path / "lora" / "adapter_model.safetensors").unlink()
    assert "adapter_model.safetensors is missing" in refusal(tmp_path / "model", tmp_path / "lora")
    (tmp_path / "lora" / "adapter_model.bin").write_bytes(b"never opened")
    assert "executes whatever code is in it" in refusal(tmp_path / "model", tmp_path / "lora")
    (tmp_path / "lora" / "adapter_config.json").unlink()
    assert "has no adapter_config.json" in refusal(tmp_path / "model", tmp_path / "lora")


def test_an_adapter_beside_the_weights_is_never_ignored_in_silence(tmp_path: Path) -> None:
    params, tensors = make_tensors()
    folder = write_checkpoint(tmp_path / "model", tensors)
    write_adapter(folder, {Q: RANK}, tensors)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        with pytest.raises(LandedError, match=rf"holds an adapter \({name}\) beside the weights"):
            load(folder)
        if name == "adapter_config.json":
            hidden = (folder / name).rename(folder / "hidden")
    hidden.rename(folder / "adapter_config.json")
    assert_same(load(folder, adapter="none", stacked=False).params, params)
    model = load(folder, adapter=folder, stacked=False)
    assert model.notes == (f"the adapter {folder} was merged into 1 weights",)
    assert_same(model.params, read_params(merge_adapter(survey_checkpoint(folder, CONFIG), folder, Notes())))


def test_a_converted_model_has_the_adapter_in_it(tmp_path: Path) -> None:
    _, tensors = make_tensors()
    folder = write_checkpoint(tmp_path / "model", tensors)
    write_adapter(tmp_path / "lora", {Q: RANK}, tensors)
    convert(folder, tmp_path / "native", adapter=tmp_path / "lora")
    native, direct = load(tmp_path / "native", stacked=False), load(folder, adapter=tmp_path / "lora", stacked=False)
    assert_same(native.params, direct.params)
    assert native.notes == direct.notes
    with pytest.raises(LandedError, match="is a native folder: merge the adapter as you convert"):
        load(tmp_path / "native", adapter=tmp_path / "lora")


def test_an_adapter_alone_is_no_model(tmp_path: Path) -> None:
    _, tensors = make_tensors()
    write_adapter(tmp_path / "lora", {Q: RANK}, tensors, base_model_name_or_path="owner/base")
    with pytest.raises(LandedError, match=r"is an adapter, and no model: .*\(owner/base\) with --adapter"):
        load(tmp_path / "lora")
