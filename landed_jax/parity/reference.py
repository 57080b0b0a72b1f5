"""The reference values: a `transformers` model, run with hooks on every module. Needs torch."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from landed_jax.checkpoints.hf.adapter import NONE
from landed_jax.checkpoints.hf.gate import wrapper_of
from landed_jax.checkpoints.hf.table import entries
from landed_jax.checkpoints.notes import Notes
from landed_jax.checkpoints.opening import Reading, survey_folder
from landed_jax.errors import LandedError
from landed_jax.families import families
from landed_jax.files.json_object import read_json_object
from landed_jax.nn.config import ModelConfig
from landed_jax.parity.float64 import float64_throughout, text_model, widen_as_it_runs
from landed_jax.parity.ladder import rung_leaves


def torch_module() -> Any:
    """The torch package.

    Raises:
        LandedError: where torch is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise LandedError(
            "Verifying needs torch, which runs the reference: install it with pip install 'landed-jax[test]'."
        ) from error
    return torch


def check_same_model(config: ModelConfig, folder: Path, ignore_fields: Collection[str] = ()) -> None:
    """Refuse to compare models of different shapes.

    Raises:
        LandedError: if the folder holds no checkpoint that can be read, or its config differs.
    """
    reading = Reading(ignore_fields, NONE)  # an adapter beside the weights changes no shape
    other = survey_folder(folder, reading, Notes()).config.to_dict()
    mine = config.to_dict()
    different = [f"{name} {mine[name]!r} against {other[name]!r}" for name in mine if mine[name] != other[name]]
    if different:
        raise LandedError(f"The reference in {folder} is another model: {'; '.join(different)}.")


def reference_rungs(folder: Path, config: ModelConfig, ids: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
    """The output of every module of the reference in float64, by rung, and its logits; 0 on padding.

    Each prompt runs alone, because in the reference the longest prompt of a batch sets the dynamic rotary scaling of
    all. Memory use is the weights as stored, and one layer of them in float64.

    Args:
        folder: an HF folder; only safetensors are opened.
        config: the model's architecture, for the names of its modules.
        ids, mask: ``[batch, position]``.

    Raises:
        LandedError: if `transformers` cannot open it.
    """
    model = _open(folder)
    with float64_throughout():
        widen_as_it_runs(model)
        return _run_each(model, config, ids, mask)


def _run_each(model: Any, config: ModelConfig, ids: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
    whole: dict[str, np.ndarray] = {}
    # Shortest first: the reference keeps the scaling of a longer prompt that ran before.
    for row in np.argsort(mask.sum(axis=-1), kind="stable"):
        real = mask[row]
        for name, value in _run(model, config, ids[row][real]).items():
            out = whole.setdefault(name, np.zeros((*ids.shape, value.shape[-1]), value.dtype))
            out[row, real] = value
    return whole


def _open(folder: Path) -> Any:
    torch_module()
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText
    from transformers.utils import logging

    wrapped = wrapper_of(read_json_object(folder / "config.json")) is not None
    logging.disable_progress_bar()
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        loaded: Any = (AutoModelForImageTextToText if wrapped else AutoModelForCausalLM).from_pretrained(
            folder,
            dtype="auto",
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            attn_implementation="eager",
            experts_implementation="eager",  # the others know no float64
            output_loading_info=True,
        )
    except Exception as error:  # transformers and safetensors raise many types for an unreadable folder
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise LandedError(f"transformers cannot open {folder}: {first}") from error
    finally:
        logging.set_verbosity(level)
    model, report = loaded
    if report["missing_keys"]:
        raise LandedError(f"The reference in {folder} lacks tensors: {', '.join(sorted(report['missing_keys']))}.")
    return model.eval()


def rung_modules(config: ModelConfig) -> dict[str, str]:
    """The reference's module whose output each rung is, by the names of the tensors that it owns.

    >>> sizes = dict(vocab_size=2, d_model=2, n_layers=1, n_heads=1, n_kv_heads=1, head_dim=2, d_ff=2)
    >>> rung_modules(ModelConfig(**sizes))["0.attn_out"]
    'model.layers.0.self_attn.o_proj'
    """
    owner = {path: entry.name.rpartition(".")[0] for path, entry in entries(config.family).items()}
    # Of experts the module around them, which the reference calls so whatever its checkpoints' names.
    owner["experts/W_down"] = owner["attn/W_O"].rpartition("{layer}.")[0] + "{layer}.mlp"
    layers, steps = range(config.n_layers), rung_leaves(config)
    inside = {f"{i}.{step}": owner[leaf].format(layer=i) for i in layers for step, leaf in steps.items()}
    return {**inside, "final_normed": owner["final_norm/gamma"]}


def _first_layer(config: ModelConfig) -> str:
    before, _, _ = entries(config.family)["attn/W_O"].name.partition("{layer}")
    return f"{before}0"


def _run(model: Any, config: ModelConfig, prompt: np.ndarray) -> dict[str, np.ndarray]:
    """One unpadded prompt: ``[position, …]`` by rung."""
    torch = torch_module()
    rungs: dict[str, np.ndarray] = {}
    hooks, base = [], families()[config.family].base

    def record(module: Any, name: str) -> None:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            value = output[0] if isinstance(output, tuple) else output
            rungs[name] = value[0].detach().numpy()

        hooks.append(module.register_forward_hook(hook))

    for rung, name in rung_modules(config).items():
        record(text_model(model).get_submodule(name.removeprefix(base)), rung)

    def embedded(_module: Any, args: Any, kwargs: Any) -> None:
        rungs["embedded"] = (args[0] if args else kwargs["hidden_states"])[0].detach().numpy()

    first = text_model(model).get_submodule(_first_layer(config).removeprefix(base))
    hooks.append(first.register_forward_pre_hook(embedded, with_kwargs=True))
    with torch.no_grad():
        output = model(input_ids=torch.from_numpy(prompt[None].astype(np.int64)), use_cache=False)
    for hook in hooks:
        hook.remove()
    return {**rungs, "logits": output.logits[0].numpy()}
