"""One set of random weights for both libraries: NumPy arrays, whose memory torch and JAX share on a CPU."""

import functools
import math
from typing import Any

import jax
import numpy as np

from landed_jax import ModelConfig
from landed_jax.analysis.writes import weight_norms
from landed_jax.checkpoints.hf.table import tensor_places
from landed_jax.checkpoints.hf.writer import config_to_hf
from landed_jax.nn import WeightNorms
from landed_jax.nn.parameters import Params, build_tree, stack_layers

ALIGNMENT = 64  # bytes; XLA on a CPU copies an array of smaller alignment


class Weights:
    """Random weights of one shape, generated at first use.

    Args:
        stacked: stack JAX's layers along a leading axis; by default as `landed_jax.load` does on this device.
    """

    def __init__(self, config: ModelConfig, *, stacked: bool | None = None, seed: int = 0) -> None:
        self.config = config
        self.seed = seed
        self.bridge: Any = None  # TransformerLens's bridge, once built
        self.stacked = jax.default_backend() != "cpu" if stacked is None else stacked

    @functools.cached_property
    def tensors(self) -> dict[str, np.ndarray]:
        """The checkpoint's tensors, by name."""
        random = np.random.default_rng(self.seed)
        found = {}
        for place in tensor_places(self.config):
            tensor = _aligned(place.entry.shape(self.config))
            random.standard_normal(dtype=np.float32, out=tensor)
            # Gains differ from 1, so that an omitted γ is detected. The scale makes streams of all models about equal.
            tensor *= 0.1 if place.leaf.init == "ones" else tensor.shape[-1] ** -0.5
            tensor += 1 if place.leaf.init == "ones" else 0
            found[place.name] = tensor
        return found

    @functools.cached_property
    def params(self) -> Params:
        """This package's parameters."""
        leaves = (
            (place.path, jax.device_put(self.tensors[place.name].reshape(place.leaf.shape(self.config))))
            for place in tensor_places(self.config)
        )
        params = build_tree(leaves)
        return stack_layers(params) if self.stacked else params

    @functools.cached_property
    def norms(self) -> WeightNorms:
        """The weights' part of the norms of writes."""
        return jax.block_until_ready(weight_norms(self.params, self.config))

    @functools.cached_property
    def torch_model(self) -> Any:
        """The model of `transformers` that the torch contestants share."""
        return self.new_torch_model()

    def new_torch_model(self) -> Any:
        """The model of `transformers`, on the GPU where torch has one.

        Raises:
            ImportError: where torch is not installed.
        """
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

        config = LlamaConfig(**config_to_hf(self.config))
        config._attn_implementation = "sdpa"
        with torch.device("meta"):  # nothing is allocated and nothing is initialised
            model: Any = LlamaForCausalLM(config)
        model.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in self.tensors.items()}, assign=True)
        model.model.rotary_emb = type(model.model.rotary_emb)(config)  # the rotary table is not in the checkpoint
        return model.eval().requires_grad_(False).to(torch_device())


def torch_device() -> str:
    """``cuda`` if JAX runs on a GPU and torch has one, otherwise ``cpu``."""
    import torch

    return "cuda" if jax.default_backend() == "gpu" and torch.cuda.is_available() else "cpu"


def _aligned(shape: tuple[int, ...]) -> np.ndarray:
    size = 4 * math.prod(shape)
    raw = np.empty(size + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size].view(np.float32).reshape(shape)
