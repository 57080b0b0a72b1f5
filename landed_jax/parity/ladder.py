"""The ladder: this package's value and the reference's at every module, in the order of computation."""

from dataclasses import dataclass

import numpy as np

from landed_jax.errors import LandedError
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.hook_points import HookPoint
from landed_jax.trace import Trace

TOLERANCE = 1e-10
"""The largest difference that passes, relative to the rung's largest value: far above float64's rounding in a deep
model, and far below the effect of a mistake. (Rounding in float32 can reach 3e-5 of a rung in a real model.)"""

TINY = float(np.finfo(np.float64).tiny)
"""A lower bound of the divisor, for a rung of zeros."""

LADDER_SITES = frozenset(
    {
        HookPoint.ATTN_RESIDUAL,
        HookPoint.ATTN_NORMED,
        HookPoint.ATTN_OUT,
        HookPoint.ATTN_WRITE,
        HookPoint.MLP_NORMED,
        HookPoint.MLP_OUT,
        HookPoint.MLP_WRITE,
        HookPoint.FINAL_NORMED,
    }
)


@dataclass(frozen=True)
class Rung:
    """One module's largest difference, absolute and relative to its largest value."""

    name: str
    difference: float
    relative: float

    @property
    def passes(self) -> bool:
        # A NaN never passes.
        return self.relative <= TOLERANCE


@dataclass(frozen=True)
class Ladder:
    """Every rung, and the largest logit difference at each position."""

    rungs: tuple[Rung, ...]
    by_position: tuple[float, ...]

    @property
    def first_failing(self) -> Rung | None:
        return next((rung for rung in self.rungs if not rung.passes), None)

    @property
    def worst(self) -> Rung:
        return max(self.rungs, key=lambda rung: rung.relative)


def rung_names(config: ModelConfig) -> list[str]:
    """The rungs in order: the stream before the first layer, each layer's, the final norm, logits."""
    steps = rung_leaves(config)
    return ["embedded", *(f"{i}.{step}" for i in range(config.n_layers) for step in steps), "final_normed", "logits"]


def rung_leaves(config: ModelConfig) -> dict[str, str]:
    """A layer's rungs in order, each with the leaf of the module that puts it out in the reference."""
    leaves = {"attn_out": "attn/W_O", "mlp_out": "experts/W_down" if config.n_experts else "mlp/W_down"}
    if config.input_norms:
        leaves |= {"attn_normed": "attn_norm/gamma", "mlp_normed": "mlp_norm/gamma"}
    if config.output_norms:
        leaves |= {"attn_write": "attn_out_norm/gamma", "mlp_write": "mlp_out_norm/gamma"}
    order = [f"{part}_{step}" for part in ("attn", "mlp") for step in ("normed", "out", "write")]
    return {step: leaves[step] for step in order if step in leaves}


def climb(trace: Trace, reference: dict[str, np.ndarray]) -> Ladder:
    """Compare a trace (of `LADDER_SITES`, with its logits) with the reference, on real tokens only.

    Raises:
        LandedError: if the two models have different shapes.
    """
    mask = np.asarray(trace.tokens.mask)
    rungs = []
    for name in rung_names(trace.config):
        mine = np.asarray(_value(trace, name))
        theirs = reference.get(name)
        if theirs is None or theirs.shape != mine.shape:
            found = "nothing" if theirs is None else list(theirs.shape)
            raise LandedError(
                f"The models differ in shape at {name}: {list(mine.shape)} here, {found} in the reference."
            )
        difference = np.abs(mine - theirs)[mask]
        largest = float(difference.max())
        rungs.append(Rung(name, largest, largest / max(float(np.abs(theirs[mask]).max()), TINY)))
    logits = np.abs(np.asarray(trace.logits) - reference["logits"])
    by_position = np.where(mask, logits.max(axis=-1), 0.0).max(axis=0)
    return Ladder(tuple(rungs), tuple(float(v) for v in by_position))


def rounding_of(logits: np.ndarray, reference: np.ndarray, mask: np.ndarray) -> float:
    """The largest error of logits at real tokens, in units of the reference's largest logit."""
    return float(np.abs(logits - reference)[mask].max() / max(float(np.abs(reference[mask]).max()), TINY))


def _value(trace: Trace, name: str) -> np.ndarray:
    if name == "logits":
        return np.asarray(trace.logits)
    if name == "embedded":
        return np.asarray(trace[HookPoint.ATTN_RESIDUAL][0])
    layer, _, site = name.rpartition(".")
    value = trace[HookPoint(site)]
    return np.asarray(value if not layer else value[int(layer)])
