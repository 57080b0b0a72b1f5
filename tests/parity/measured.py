"""How far one tiny model is from its references: logits from `transformers`, landed writes from NumPy's brute force."""

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import landed_jax as landed
from landed_jax import NORMED, WRITES, Tokens
from landed_jax.nn import PerWrite
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import Params
from tests.parity.cases import CASES
from tests.parity.conversion import convert
from tests.parity.prompts import PROMPTS, REAL, TOKENS, alone, by_length, relative_error
from tests.parity.torch_model import hf_config, in_float64, tiny_model, torch_logits
from tests.reference.landed import every_write, removed_effects
from tests.reference.numpy_model import Arrays, numpy_forward
from tests.traces import column, unembedding


class Errors(NamedTuple):
    """The worst errors at the real tokens of `PROMPTS`, each in units of the largest value of its kind.

    Attributes:
        logits_float32, logits_float64: from those of `transformers` in the same type.
        closure: of landed writes from what each norm put out, at every read site, in float64.
        direct_effects: of every write at the final norm on its position's top token, from brute force, in float64.
    """

    logits_float32: float
    logits_float64: float
    closure: float
    direct_effects: float


def measure(case: str) -> Errors:
    """The errors of one of the `CASES`."""
    kind, fields = CASES[case]
    model = tiny_model(hf_config(kind, **fields))
    config, params = convert(model)

    def theirs(model: Any) -> np.ndarray:
        return alone(model) if by_length(config) else torch_logits(model, PROMPTS).numpy()

    numbers = numpy_forward(params, TOKENS.ids, TOKENS.mask, config)
    top = numbers["logits"].argmax(-1)
    with jax.enable_x64(False):
        single = relative_error(_logits(params, TOKENS, config), theirs(model))
    with jax.enable_x64(True):
        logits, closure, effects = _landed(params, TOKENS, jnp.asarray(top), config)
        double = relative_error(logits, theirs(in_float64(model)))
        expected, found = _effects(numbers, unembedding(params, config)[top], effects, config)
    return Errors(single, double, float(np.asarray(closure)[:, REAL].max()), _relative(found, expected))


@partial(jax.jit, static_argnums=2)
def _logits(params: Params, tokens: Tokens, config: ModelConfig) -> jax.Array:
    return landed.forward(params, tokens, config, record=())[0]


@partial(jax.jit, static_argnums=3)
def _landed(
    params: Params, tokens: Tokens, target: jax.Array, config: ModelConfig
) -> tuple[jax.Array, jax.Array, PerWrite | None]:
    """Logits, closure errors and direct effects in one program: compiling is most of what measuring takes."""
    logits, trace = landed.forward(params, tokens, config, record=WRITES | NORMED)
    trace = dataclasses.replace(trace, logits=logits).bind(params)
    return logits, landed.closure_error(trace).error, landed.attribute(trace, target).direct_effect


def _effects(
    numbers: Arrays, directions: np.ndarray, effects: PerWrite | None, config: ModelConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Every write's direct effect at every real position, by brute force and as found."""
    assert effects is not None
    places = [tuple(place) for place in np.argwhere(REAL)]
    written = (every_write(numbers, config, b, p) for b, p in places)
    expected = [
        removed_effects(writes, numbers, directions[b, p], config, b, p)
        for writes, (b, p) in zip(written, places, strict=True)
    ]
    return np.stack(expected), np.stack([column(effects, b, p) for b, p in places])


def _relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())
