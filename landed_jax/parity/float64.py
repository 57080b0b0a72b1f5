"""`transformers` in float64, with one module's weights in float64 at a time."""

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch


@contextlib.contextmanager
def float64_throughout() -> Iterator[None]:
    """Make `transformers` compute in float64 where its code names float32: in norms, rotary tables and softmax."""
    import torch

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # dynamic rotary scaling makes a scalar of the default type
    try:
        names = (patch.object(torch, name, torch.float64) for name in ("float", "float32"))
        with contextlib.ExitStack() as stack:
            for name in (*names, patch.object(torch.Tensor, "float", torch.Tensor.double)):
                stack.enter_context(name)
            yield
    finally:
        torch.set_default_dtype(before)


def text_model(model: Any) -> Any:
    """The part of a reference that holds the layers, in a model that has other parts too."""
    return getattr(model.base_model, "language_model", model.base_model)


def widen_as_it_runs(model: Any) -> None:
    """Convert the weights of each module of a decoder to float64 for its run, and back afterwards.

    Narrower floats survive the round trip unchanged. The rotary tables are recomputed, and so is the scale of an
    embedding where it is not rounded to narrower weights. Call it and run the model under
    `float64_throughout`.
    """

    import torch

    own = model.dtype  # which changes with its first module's

    def widen(module: Any, inputs: Any) -> None:
        module.double()
        if own.itemsize == 4 and hasattr(module, "scalar_embed_scale"):
            module.embed_scale = torch.tensor(module.scalar_embed_scale, dtype=torch.float64)

    def narrow(module: Any, inputs: Any, output: Any) -> None:
        module.to(own)

    inner = text_model(model)
    if hasattr(inner, "rotary_emb"):
        inner.rotary_emb = type(inner.rotary_emb)(config=inner.config)
    for module in (*inner.modules(), model.get_output_embeddings()):
        if next(module.parameters(recurse=False), None) is None:
            continue
        module.register_forward_pre_hook(widen)
        module.register_forward_hook(narrow)
