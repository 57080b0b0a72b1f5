"""The contestants: a table from names to builders, one line per contestant."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from benchmarks import ours, products, transformer_lens_side
from benchmarks.shapes import prompt
from benchmarks.weights import Weights, torch_device


@dataclass(frozen=True)
class Prepared:
    """A contestant that is ready for one prompt.

    Attributes:
        run: one call, finished when it returns.
        compile_s: seconds to compile, where there is a compilation.
        program_bytes: a compiled program's own account of its memory beside its arguments.
    """

    run: Callable[[], Any]
    compile_s: float | None = None
    program_bytes: int | None = None


class Unavailable(Exception):
    """The reason why a contestant cannot run, as text for its row."""


Builder = Callable[[Weights, int], Prepared]


@dataclass(frozen=True)
class Contestant:
    """A builder, and its title."""

    title: str
    build: Builder


def closure_of(result: Any) -> tuple[float, float] | None:
    """The largest closure error of a result and the largest ``|logit|``; None for a plain forward pass."""
    if not isinstance(result, Mapping) or "closure_error" not in result:
        return None

    def largest(name: str) -> float:
        value = result[name]
        return float(np.abs(value.numpy(force=True) if hasattr(value, "numpy") else np.asarray(value)).max())

    return largest("closure_error"), largest("value")


def ours_builder(function: ours.Program, *, norms: bool = False) -> Builder:
    """A function ``(params, ids, config) -> arrays``, compiled ahead of time as one program.

    Args:
        norms: pass `weight_norms` too, whose time is not measured.
    """

    def build(weights: Weights, length: int) -> Prepared:
        params, ids = weights.params, jax.device_put(prompt(weights.config, length))
        others = [weights.norms] if norms else []
        start = time.perf_counter()
        program = ours.compiled(function, params, ids, weights.config, *others)
        took = time.perf_counter() - start
        return Prepared(lambda: ours.finished(program(params, ids, *others)), took, ours.needs(program))

    return build


def torch_builder(function: Callable[[Any, Any], Any]) -> Builder:
    """A function ``(model, ids) -> result`` on the model of `transformers`."""

    def build(weights: Weights, length: int) -> Prepared:
        try:
            import torch
        except ImportError:
            raise Unavailable("torch is not installed") from None
        ids = torch.from_numpy(prompt(weights.config, length)).long().to(torch_device())
        model = weights.torch_model

        def run() -> Any:
            with torch.inference_mode():
                result = function(model, ids)
            if ids.is_cuda:
                torch.cuda.synchronize()
            return result

        return Prepared(run)

    return build


def _hooked(model: Any, ids: Any, *, last: bool) -> Any:
    from benchmarks.torch_hooks import attribute_with_hooks  # imports torch, which is optional

    return attribute_with_hooks(model, ids, last=last)


def lens_builder(function: transformer_lens_side.Analysis, needs: transformer_lens_side.Needs) -> Builder:
    """A TransformerLens analysis, not run where its estimated memory is not available."""

    def build(weights: Weights, length: int) -> Prepared:
        try:
            bridge = transformer_lens_side.prepared_bridge(weights, length, needs)
        except ImportError:
            raise Unavailable("not installed") from None
        except MemoryError as error:
            raise Unavailable(str(error)) from None
        ids = transformer_lens_side.as_ids(prompt(weights.config, length))
        return Prepared(lambda: transformer_lens_side.timed_out_after(function, bridge, ids))

    return build


CONTESTANTS: dict[str, Contestant] = {
    "ours-forward": Contestant("forward", ours_builder(ours.forward)),
    "ours-forward-last": Contestant("forward, last position's logits", ours_builder(ours.forward_last)),
    "ours-last": Contestant("last position", ours_builder(ours.last)),
    "ours-all": Contestant("all positions", ours_builder(ours.all_positions)),
    "ours-effects": Contestant(
        "all positions, with effects", ours_builder(ours.all_positions_with_effects_and_norms, norms=True)
    ),
    "ours-effects-anew": Contestant(
        "all positions, with effects, norms made anew", ours_builder(ours.all_positions_with_effects)
    ),
    "ours-top-1": Contestant("top 1,000 writes, one pass", ours_builder(ours.top_in_one_pass)),
    "ours-top-2": Contestant("top 1,000 writes, two passes", ours_builder(ours.top_in_two_passes)),
    "torch-forward": Contestant("torch forward", torch_builder(lambda model, ids: model(ids, use_cache=False).logits)),
    "torch-forward-last": Contestant(
        "torch forward, last position's logits",
        torch_builder(lambda model, ids: model(ids, use_cache=False, logits_to_keep=1).logits),
    ),
    "hooks-last": Contestant(
        "torch hooks, last position", torch_builder(lambda model, ids: _hooked(model, ids, last=True))
    ),
    "hooks-all": Contestant(
        "torch hooks, all positions", torch_builder(lambda model, ids: _hooked(model, ids, last=False))
    ),
    "ours-products": Contestant("forward's products alone", ours_builder(products.forward_products)),
    "torch-products": Contestant("torch forward's products alone", torch_builder(products.torch_forward_products)),
    "ours-projections": Contestant("attribution's products alone", ours_builder(products.projections)),
    "torch-projections": Contestant("attribution's products alone, torch", torch_builder(products.torch_projections)),
    "lens-last": Contestant(
        "TransformerLens, last position",
        lens_builder(transformer_lens_side.last, transformer_lens_side.needs_projected),
    ),
    "lens-all": Contestant(
        "TransformerLens, all positions, projected in a loop",
        lens_builder(transformer_lens_side.all_in_a_loop, transformer_lens_side.needs_projected),
    ),
    "lens-stack": Contestant(
        "TransformerLens, all positions, full stack",
        lens_builder(transformer_lens_side.all_in_a_stack, transformer_lens_side.needs_stack),
    ),
}
