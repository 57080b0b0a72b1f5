"""The reference's own numbers: a `transformers` model run with hooks on every module. Needs torch."""

from pathlib import Path
from typing import Any

import numpy as np

from landed_jax.errors import LandedError


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


def reference_rungs(folder: Path, ids: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
    """The output of every module of the reference in float32, by rung, and its logits.

    Args:
        folder: an HF folder.
        ids, mask: ``[batch, position]``; padding is masked, and positions count real tokens.
    """
    torch = torch_module()
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, trust_remote_code=False, attn_implementation="eager"
        )
    except (OSError, ValueError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise LandedError(f"transformers cannot open {folder}: {first}") from error
    model.eval()
    rungs: dict[str, np.ndarray] = {}

    def record(name: str) -> Any:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            value = output[0] if isinstance(output, tuple) else output
            rungs[name] = value.detach().numpy()

        return hook

    inner = model.model
    inner.embed_tokens.register_forward_hook(record("embedding"))
    for i, layer in enumerate(inner.layers):
        layer.input_layernorm.register_forward_hook(record(f"{i}.attn_normed"))
        layer.self_attn.register_forward_hook(record(f"{i}.attn_write"))
        layer.post_attention_layernorm.register_forward_hook(record(f"{i}.mlp_normed"))
        layer.mlp.register_forward_hook(record(f"{i}.mlp_write"))
    inner.norm.register_forward_hook(record("final_normed"))
    positions = np.maximum(np.cumsum(mask, axis=-1) - 1, 0)
    with torch.no_grad():
        output = model(
            input_ids=torch.from_numpy(ids.astype(np.int64)),
            attention_mask=torch.from_numpy(mask.astype(np.int64)),
            position_ids=torch.from_numpy(positions.astype(np.int64)),
            use_cache=False,
        )
    rungs["logits"] = output.logits.numpy()
    return rungs
