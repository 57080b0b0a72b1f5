"""Edits of the stream and of one norm's input, at every site, against torch hooks on the same weights."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from landed_jax.forward_pass import forward
from landed_jax.nn.hook_points import HookPoint
from landed_jax.nn.stream_order import site_names
from landed_jax.tokens import Tokens
from tests.parity.conversion import convert
from tests.parity.torch_model import hf_config, in_float64, tiny_model, torch_logits

PROMPTS = ((3, 14, 15, 9, 2), (7, 1, 8))
REAL = np.array([[True] * 5, [False] * 2 + [True] * 3])
POSITION = 3
PATCH = np.linspace(-2, 3, 32)


def patched(stream: torch.Tensor) -> torch.Tensor:
    stream = stream.clone()
    stream[:, POSITION] = torch.from_numpy(PATCH)
    return stream


def hook_stream(model: PreTrainedModel, site: str) -> None:
    """Patch the stream that goes into a site and on."""
    layer, _, part = site.partition(".")
    if site == "final":
        model.model.norm.register_forward_pre_hook(lambda _, args: (patched(args[0]),))
    elif part == "attn":
        model.model.layers[int(layer)].register_forward_pre_hook(lambda _, args: (patched(args[0]), *args[1:]))
    else:  # the stream before the layer, and what attention adds so that the sum is the patched stream
        block, before = model.model.layers[int(layer)], {}
        block.register_forward_pre_hook(lambda _, args: before.update(stream=args[0]))

        def added(_: Any, args: Any, out: Any) -> Any:
            return (patched(before["stream"] + out[0]) - before["stream"], *out[1:])

        block.self_attn.register_forward_hook(added)


def hook_norm_input(model: PreTrainedModel, site: str) -> None:
    """Patch what one norm reads, and nothing else."""
    layer, _, part = site.partition(".")
    names = {"attn": "input_layernorm", "mlp": "post_attention_layernorm"}
    norm = model.model.norm if site == "final" else getattr(model.model.layers[int(layer)], names[part])
    norm.register_forward_pre_hook(lambda _, args: (patched(args[0]),))


@pytest.mark.parametrize(("kind", "hook"), [("residual", hook_stream), ("norm_input", hook_norm_input)])
@pytest.mark.parametrize("site", ["0.attn", "0.mlp", "1.attn", "1.mlp", "final"])
def test_a_patch_is_that_of_torch_hooks(site: str, kind: str, hook: Any, x64: None) -> None:
    single = tiny_model(hf_config())
    config, params = convert(single)
    assert site in site_names(config)
    model = in_float64(single)
    plain = torch_logits(model, PROMPTS).numpy()
    hook(model, site)
    expected = torch_logits(model, PROMPTS).numpy()
    layer, _, part = site.rpartition(".")

    def edit(x: jax.Array, index: jax.Array | None) -> jax.Array:
        new = x.at[:, POSITION].set(PATCH)
        return new if index is None else jnp.where(index == int(layer), new, x)

    ids = np.array([PROMPTS[0], (0, 0, *PROMPTS[1])])
    tokens = Tokens(jnp.asarray(ids), jnp.asarray(REAL))
    edits = {HookPoint(f"{part}_{kind}"): edit}
    logits = jax.jit(lambda p: forward(p, tokens, config, record=(), edits=edits)[0])(params)
    scale = np.abs(expected[REAL]).max()
    assert np.abs(np.asarray(logits)[REAL] - expected[REAL]).max() <= 1e-10 * scale
    assert np.abs(expected[REAL] - plain[REAL]).max() > 1e-3 * scale
