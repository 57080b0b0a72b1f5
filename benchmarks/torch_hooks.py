"""The same attribution with torch hooks, as a competent user would write it by hand."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch


@contextlib.contextmanager
def caught(model: Any, last: bool) -> Iterator[dict[str, Any]]:
    """During the block, each pass records the embedding, the factors z and a of every layer, and the final stream."""
    kept: dict[str, Any] = {"z": [], "a": []}

    def cut(value: torch.Tensor) -> torch.Tensor:
        # A copy of the last row: a view would keep all rows alive.
        return value[0, -1:].clone() if last else value[0]

    hooks = [
        model.model.embed_tokens.register_forward_hook(lambda _m, _i, out: kept.update(embedding=cut(out))),
        model.model.norm.register_forward_pre_hook(lambda _m, inputs: kept.update(stream=cut(inputs[0]))),
    ]
    for layer in model.model.layers:
        attn, mlp = layer.self_attn.o_proj, layer.mlp.down_proj
        hooks.append(attn.register_forward_pre_hook(lambda _m, inputs: kept["z"].append(cut(inputs[0]))))
        hooks.append(mlp.register_forward_pre_hook(lambda _m, inputs: kept["a"].append(cut(inputs[0]))))
    try:
        yield kept
    finally:
        for hook in hooks:
            hook.remove()


@torch.inference_mode()
def attribute_with_hooks(model: Any, ids: torch.Tensor, *, last: bool) -> dict[str, Any]:
    """Every write's landed contribution to each position's own top token.

    Args:
        ids: ``[1, position]``.
        last: the last position only.

    Returns:
        ``embedding`` ``[position]``, ``heads`` and ``neurons``, a list over layers of ``[position, …]``, the logit
        ``value`` and the ``closure_error`` ``[position]``.
    """
    config = model.config
    with caught(model, last) as kept:
        logits = model(ids, use_cache=False, logits_to_keep=int(last)).logits[0]
    value, target = logits.max(-1)
    sigma = (kept["stream"].square().mean(-1, keepdim=True) + config.rms_norm_eps).sqrt()
    direction = model.lm_head.weight[target] * (model.model.norm.weight / sigma)
    embedding = (kept["embedding"] * direction).sum(-1)
    heads, neurons = [], []
    for layer, z, a in zip(model.model.layers, kept["z"], kept["a"], strict=True):
        # In place: the factors are not needed after the pass.
        products = z.mul_(direction @ layer.self_attn.o_proj.weight)
        heads.append(products.view(len(z), config.num_attention_heads, -1).sum(-1))
        neurons.append(a.mul_(direction @ layer.mlp.down_proj.weight))
    total = embedding + sum(part.sum(-1) for part in heads + neurons)
    return {
        "embedding": embedding,
        "heads": heads,
        "neurons": neurons,
        "value": value,
        "closure_error": (total - value).abs(),
    }
