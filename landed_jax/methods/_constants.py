"""What a model's constants are worth under rules of relevance: output and input biases, and the norms' β."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from landed_jax.forward_pass import context_of
from landed_jax.nn.config import LayerKind, ModelConfig
from landed_jax.nn.gradient_rules import GradientRules
from landed_jax.nn.layer_programs import by_layers, through_layers
from landed_jax.nn.modules import Block, Embed, ReadNorm
from landed_jax.nn.parameters import Params
from landed_jax.nn.tap import Context, Plan
from landed_jax.numerics import highest_precision
from landed_jax.tokens import Tokens


@functools.partial(by_layers, static=("config", "rules", "dtype"))
@highest_precision
def constants_share(
    params: Params,
    tokens: Tokens,
    vector: Float[Array, "batch d_model"],
    *,
    config: ModelConfig,
    rules: GradientRules,
    dtype: Any,
) -> Float[Array, " batch"]:
    """The slope of ``⟨final norm's output, vector⟩`` at the last column by a common factor of all constants, at 1.

    Under rules that make each step linear, it is what the constants add to the value. It goes with the layers, not
    back through them: each prompt has its own share of weights that all share.
    """
    context, plan = context_of(tokens, config, (), dtype), Plan(rules=rules)
    embed: Any = Embed(config, plan, parent=None)
    x = embed.apply({"params": params["embed"]}, tokens.ids, dtype, context)
    kinds = list(dict.fromkeys(config.kinds))

    def of_kind(kind: LayerKind) -> Any:
        block: Any = Block(config, plan, kind, parent=None)

        def layer(part: Params, carry: Any, index: jax.Array, context: Context) -> Any:
            def run(x: jax.Array, constants: Any) -> jax.Array:
                return block.apply({"params": _with(part, constants)}, x, index, context)

            return _pushed(run, carry, _constants(part)), None

        return layer

    kind_of = [kinds.index(kind) for kind in config.kinds]
    carry, _ = through_layers(list(map(of_kind, kinds)), kind_of, params["layers"], (x, jnp.zeros_like(x)), context)
    norm: Any = ReadNorm(config, plan, "final", parent=None)
    own = params["final_norm"]

    def normed(x: jax.Array, constants: Any) -> jax.Array:
        return norm.apply({"params": _with(own, constants)}, x, None, context)

    _, slope = _pushed(normed, carry, _constants(own))
    return jnp.vecdot(slope[:, -1], vector)


def _pushed(function: Any, carry: tuple[jax.Array, jax.Array], constants: Any) -> tuple[jax.Array, jax.Array]:
    x, slope = carry
    after, pull = jax.vjp(function, x, constants)
    # The transpose of the way back, for products of experts have no way forward of their own.
    return after, jax.vjp(pull, jnp.zeros_like(after))[1]((slope, constants))[0]


def _constants(part: Mapping[str, Any]) -> dict[str, Any]:
    """A module's biases and β, and those of its parts."""
    found: dict[str, Any] = {}
    for name, leaf in part.items():
        if isinstance(leaf, Mapping):
            found[name] = _constants(leaf)
        elif name == "beta" or name.startswith("b_"):
            found[name] = leaf
    return found


def _with(part: Mapping[str, Any], constants: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _with(leaf, constants[name]) if isinstance(leaf, Mapping) else constants.get(name, leaf)
        for name, leaf in part.items()
    }
