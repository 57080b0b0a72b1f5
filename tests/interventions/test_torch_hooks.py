"""Interventions against torch hooks on the same weights, in float64, without and with output norms."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from landed_jax.forward_pass import forward
from landed_jax.interventions import every_head, freeze_sigma, intervene, sweep, zero_head
from landed_jax.model import Model
from landed_jax.tokens import Tokens
from tests.parity.conversion import convert
from tests.parity.torch_model import hf_config, in_float64, tiny_model, torch_logits
from tests.torch_here import torch

PROMPTS = ((3, 14, 15, 9, 2), (7, 1, 8))
REAL = np.array([[True] * 5, [False] * 2 + [True] * 3])
TOKENS = ([PROMPTS[0], (0, 0, *PROMPTS[1])], REAL)
LAYER, HEAD, HEAD_DIM, POSITION = 1, 2, 8, 3
VECTOR = np.linspace(-2, 3, 32)


class Case:
    """A tiny model twice: ours, and one of `transformers` in float64 that hooks can be put on."""

    def __init__(self, kind: str) -> None:
        single = tiny_model(hf_config(kind))
        self.config, self.params = convert(single)
        self.torch = in_float64(single)
        self.block = self.torch.model.layers[LAYER]
        self.tokens = Tokens(jnp.asarray(TOKENS[0]), jnp.asarray(TOKENS[1]))

    def check(
        self, interventions: Any, module: Any, change: Callable[[torch.Tensor], torch.Tensor], inputs: bool
    ) -> None:
        """Compare with a hook that changes what goes into a module, or what comes out of it."""
        plain = torch_logits(self.torch, PROMPTS).numpy()
        if inputs:
            handle = module.register_forward_pre_hook(lambda _, args: (change(args[0].clone()), *args[1:]))
        else:

            def out(_: Any, args: Any, out: Any) -> Any:
                first = change((out[0] if isinstance(out, tuple) else out).clone())
                return (first, *out[1:]) if isinstance(out, tuple) else first

            handle = module.register_forward_hook(out)
        expected = torch_logits(self.torch, PROMPTS).numpy()
        handle.remove()
        found = forward(self.params, self.tokens, self.config, record=(), interventions=interventions)[0]
        scale = np.abs(expected[REAL]).max()
        assert np.abs(np.asarray(found)[REAL] - expected[REAL]).max() <= 1e-10 * scale
        assert np.abs(expected[REAL] - plain[REAL]).max() > 1e-5 * scale  # it did something


@pytest.fixture(params=["llama", "gemma2"])
def case(request: pytest.FixtureRequest, x64: None) -> Case:
    return Case(request.param)


def without_head(z: torch.Tensor) -> torch.Tensor:
    z[..., HEAD * HEAD_DIM : (HEAD + 1) * HEAD_DIM] = 0
    return z


def scaled(x: torch.Tensor) -> torch.Tensor:
    x[:, POSITION] *= 3
    return x


def steered(x: torch.Tensor) -> torch.Tensor:
    x[:, POSITION] += torch.from_numpy(VECTOR)
    return x


def projected(x: torch.Tensor) -> torch.Tensor:
    unit = torch.from_numpy(VECTOR / np.linalg.norm(VECTOR))
    return x - (x @ unit)[..., None] * unit


def test_a_head_alone(case: Case) -> None:
    case.check(zero_head(LAYER, HEAD), case.block.self_attn.o_proj, without_head, inputs=True)


def test_steering_and_projecting_out(case: Case) -> None:
    steer = intervene("attn_residual", "add", VECTOR, layers=LAYER, positions=POSITION)
    case.check(steer, case.block, steered, inputs=True)
    case.check(intervene("attn_residual", "project_out", VECTOR, layers=LAYER), case.block, projected, inputs=True)


def test_a_whole_write_has_two_meanings_under_an_output_norm(case: Case) -> None:
    where = {"layers": LAYER, "positions": POSITION}
    case.check(intervene("attn_out", "scale", 3.0, **where), case.block.self_attn, scaled, inputs=False)
    behind = case.block.post_attention_layernorm if case.config.output_norms else case.block.self_attn
    case.check(intervene("attn_write", "scale", 3.0, **where), behind, scaled, inputs=False)


def test_a_head_with_frozen_norms(case: Case) -> None:
    """Every norm as a product with what it was in the clean run."""
    model = case.torch
    norms = [module for name, module in model.named_modules() if name.endswith(("norm", "layernorm"))]
    ratio: dict[Any, torch.Tensor] = {}
    for norm in norms:
        hook = norm.register_forward_hook(lambda m, args, out: ratio.update({m: out / args[0]}))
        torch_logits(model, PROMPTS)
        hook.remove()
    for norm in norms:
        norm.register_forward_hook(lambda m, args, _: args[0] * ratio[m])
    clean = Model(case.config, case.params).trace(case.tokens)
    change = [zero_head(LAYER, HEAD), freeze_sigma(clean)]
    case.check(change, case.block.self_attn.o_proj, without_head, inputs=True)


def test_a_sweep_of_all_heads(case: Case) -> None:
    token = 5
    found = sweep(Model(case.config, case.params), case.tokens, every_head(case.config), lambda x: x[..., token])
    for layer, block in enumerate(case.torch.model.layers):
        for head in range(case.config.n_heads):
            part = slice(head * HEAD_DIM, (head + 1) * HEAD_DIM)

            def zero(_: Any, args: Any, part: slice = part) -> Any:
                z = args[0].clone()
                z[..., part] = 0
                return (z,)

            handle = block.self_attn.o_proj.register_forward_pre_hook(zero)
            expected = torch_logits(case.torch, PROMPTS).numpy()[:, -1, token]
            handle.remove()
            np.testing.assert_allclose(found.value[layer, head, :, 0], expected, rtol=1e-10, atol=1e-10)
