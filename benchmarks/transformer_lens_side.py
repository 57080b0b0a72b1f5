"""The same attribution by TransformerLens (4.x), with its public functions where they suffice."""

import importlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.environment import available_bytes
from benchmarks.weights import Weights
from landed_jax import ModelConfig
from landed_jax.nn.parameters import count_parameters

Analysis = Callable[[Any, Any, float], dict[str, Any]]
Needs = Callable[[ModelConfig, int], int]

BUDGET_S = 45.0  # time limit of one call
KEPT = ("hook_z", "mlp.hook_post", "ln_final.hook_scale", "hook_embed")  # without this filter its cache has every hook


class OverBudget(Exception):
    """A call was stopped; the message is the text for its row."""


def needs_projected(config: ModelConfig, length: int) -> int:
    """Bytes of the cached activations, and of all heads' writes."""
    kept = config.n_layers * length * (config.d_ff + config.n_heads * config.head_dim)
    heads = config.n_layers * config.n_heads * length * config.d_model
    # The heads' writes exist three times: computed, stacked and scaled.
    return 4 * (kept + 3 * heads + 2 * length * config.vocab_size)


def needs_stack(config: ModelConfig, length: int) -> int:
    """The same, with every neuron's write as a vector: computed, stacked and scaled."""
    neurons = config.n_layers * config.d_ff * length * config.d_model
    return needs_projected(config, length) + 4 * 3 * neurons


def prepared_bridge(weights: Weights, length: int, needs: Needs) -> Any:
    """The same model as a TransformerLens bridge, with γ folded into a copy of the weights; built once per model.

    Raises:
        ImportError: if TransformerLens is not installed.
        MemoryError: if the estimate is more than the available memory.
    """
    importlib.import_module("transformer_lens")  # raises if it is not installed, before any memory is taken
    made = weights.bridge
    # Folding copies the weights, and for a moment both copies exist.
    own = 0 if made else 8 * count_parameters(weights.config)
    wanted = own + needs(weights.config, length)
    if wanted > 0.9 * available_bytes() > 0:
        raise MemoryError(f"out of memory (needs {wanted / 1e9:.2g} GB)")
    if made is None:
        weights.bridge = _bridge(weights)
    return weights.bridge


def _bridge(weights: Weights) -> Any:
    import torch
    from transformer_lens.model_bridge.sources._bridge_builder import (  # pyright: ignore[reportMissingImports]
        build_bridge_from_module,
    )

    # A separate module, because the bridge replaces its parts. The tensors are shared until they are folded.
    model = weights.new_torch_model()
    bridge = build_bridge_from_module(model, "LlamaForCausalLM", hf_config=model.config, dtype=torch.float32)
    # Without compatibility mode its sums leave γ out; with its defaults they are of the centred logit.
    bridge.enable_compatibility_mode(
        disable_warnings=True, center_writing_weights=False, center_unembed=False, fold_value_biases=False
    )
    return bridge


def as_ids(ids: np.ndarray) -> Any:
    import torch

    from benchmarks.weights import torch_device

    return torch.from_numpy(ids).long().to(torch_device())


def timed_out_after(function: Analysis, bridge: Any, ids: Any) -> dict[str, Any]:
    """Run the analysis; it stops between two positions when the time limit is over.

    Raises:
        OverBudget: if it was stopped.
    """
    import torch

    with torch.inference_mode():
        result = function(bridge, ids, time.perf_counter() + BUDGET_S)
    if ids.is_cuda:
        torch.cuda.synchronize()
    return result


def last(bridge: Any, ids: Any, deadline: float) -> dict[str, Any]:
    """All heads and neurons, last position, its top token."""
    logits, cache = bridge.run_with_cache(ids, names_filter=_kept)
    return _gathered([_position(bridge, cache, logits, -1)], logits[:, -1:])


def all_in_a_loop(bridge: Any, ids: Any, deadline: float) -> dict[str, Any]:
    """All positions, each with its own top token, in a loop, because the projection takes one direction."""
    logits, cache = bridge.run_with_cache(ids, names_filter=_kept)
    found = []
    for position in range(ids.shape[1]):
        found.append(_position(bridge, cache, logits, position))
        if time.perf_counter() > deadline:
            raise OverBudget(f"stopped after {BUDGET_S:.0f} s, {position + 1} of {ids.shape[1]} positions")
    return _gathered(found, logits)


def all_in_a_stack(bridge: Any, ids: Any, deadline: float) -> dict[str, Any]:
    """All positions from the full stack of writes as vectors; `logit_attrs` takes one token per position."""
    import torch

    logits, cache = bridge.run_with_cache(ids, names_filter=_kept)
    tokens = logits.argmax(-1)
    parts = []
    # `logit_attrs` divides by σ itself. One stack at a time: each is large.
    for stack in (cache.stack_head_results, cache.stack_neuron_results):
        parts.append(cache.logit_attrs(stack(-1), tokens)[:, 0])
    parts.append(cache.logit_attrs(cache["hook_embed"][None], tokens)[:, 0])
    return _gathered(list(torch.cat(parts).T), logits)


def _kept(name: str) -> bool:
    return name.endswith(KEPT)


def _position(bridge: Any, cache: Any, logits: Any, position: int) -> Any:
    """``[write]``: heads, neurons and the embedding at one position."""
    import torch

    direction = bridge.W_U[:, logits[0, position].argmax()]
    heads = cache.stack_head_results(-1, pos_slice=position, apply_ln=True) @ direction
    neurons = cache.stack_neuron_results(-1, pos_slice=position, apply_ln=True, project_output_onto=direction)
    scale = cache["ln_final.hook_scale"][0, position]
    embedding = cache["hook_embed"][0, position] / scale @ direction
    return torch.cat([heads.flatten(), neurons.flatten(), embedding.reshape(1)])


def _gathered(positions: list[Any], logits: Any) -> dict[str, Any]:
    import torch

    shares, value = torch.stack(positions), logits[0].max(-1).values
    return {"shares": shares, "value": value, "closure_error": (shares.sum(-1) - value).abs()}
