"""What one forward pass left behind: σ, γ and the factors of every write, with named axes."""

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from landed_jax.errors import LandedError
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.hook_points import GROUPS, HookPoint, axes_of
from landed_jax.nn.parameters import Params
from landed_jax.nn.stream_order import StreamOrder
from landed_jax.numerics import is_concrete
from landed_jax.tokens import Tokens
from landed_jax.vocabulary import Vocabulary


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Trace:
    """The recorded values of one forward pass: a pytree, so it goes through ``jit`` and ``vmap``.

    Attributes:
        tokens: the prompts.
        at: ``[position]``, the columns of `tokens` that were recorded (counted from 0).
        sown: each recorded `HookPoint`'s value; `axes` names its axes.
        logits: ``[batch, position, vocab]``, where the trace was asked to keep them.
        params: the weights, once the trace is bound to them; the analyses need them.
        vocabulary: the tokenizer's view of ids, once bound; targets given as text need it.
        observed: what each observer of the pass kept, by its name, with a leading layer axis.
    """

    tokens: Tokens
    at: jax.Array
    sown: dict[str, jax.Array]
    logits: jax.Array | None = None
    params: Params | None = None
    observed: dict[str, Any] = dataclasses.field(default_factory=dict, kw_only=True)
    config: ModelConfig = dataclasses.field(metadata={"static": True}, kw_only=True)
    vocabulary: Vocabulary | None = dataclasses.field(default=None, metadata={"static": True}, kw_only=True)

    def bind(self, params: Params, vocabulary: Vocabulary | None = None) -> "Trace":
        """The same trace with the weights that made it (held, not copied), ready for analysis."""
        return dataclasses.replace(self, params=params, vocabulary=vocabulary or self.vocabulary)

    def weights(self) -> Params:
        """The bound parameters.

        Raises:
            LandedError: if the trace is not bound.
        """
        if self.params is None:
            raise LandedError("This trace holds no weights: pass trace.bind(params) to the analysis.")
        return self.params

    def __getitem__(self, site: HookPoint) -> jax.Array:
        """A recorded value.

        Raises:
            LandedError: if the site was not recorded.
        """
        site = HookPoint(site)
        if site.value not in self.sown:
            group = next((f"{name} (or " for name, sites in GROUPS.items() if site in sites), "")
            wanted = f"{group}HookPoint.{site.name}{')' if group else ''}"
            raise LandedError(f"This trace did not record {site.value}: add {wanted} to record=.")
        return self.sown[site.value]

    def axes(self, site: HookPoint) -> tuple[str, ...]:
        """The names of a recorded value's axes: layer, batch, position, source, head, neuron, …"""
        return axes_of(HookPoint(site))

    @property
    def order(self) -> StreamOrder:
        """Which sites read the stream, and which writes each of them reads."""
        return StreamOrder.of(self.config)

    def _per_read_site(self, kind: str) -> jax.Array:
        return _along_sites(*(self[HookPoint(f"{norm}_{kind}")] for norm in ("attn", "mlp", "final")), self.order)

    @property
    def real(self) -> Bool[Array, "batch position"]:
        """False where a recorded position is padding."""
        return self.tokens.mask[:, self.at]

    @property
    def sigma(self) -> Float[Array, "site batch position"]:
        """σ at every read site, in the order ``0.attn, 0.mlp, 1.attn, …, final``."""
        return self._per_read_site("sigma")

    @property
    def gamma(self) -> Float[Array, "site d_model"]:
        """γ at every read site, as the norm applies it."""
        return self._per_read_site("gamma")

    @property
    def residual(self) -> Float[Array, "site batch position d_model"]:
        """The residual stream at every read site (record `RESIDUALS`)."""
        return self._per_read_site("residual")

    @property
    def normed(self) -> Float[Array, "site batch position d_model"]:
        """What every read site put out: the stream as it is heard (record `NORMED`)."""
        return self._per_read_site("normed")

    def select(self, position: int) -> "Trace":
        """The same trace at one recorded position (a column of the tokens; negative: from the end).

        What observers kept stays as it is.

        Raises:
            LandedError: if that position was not recorded.
        """
        index = recorded_index(self, position)
        with_positions = {name: value for name, value in self.sown.items() if "position" in axes_of(HookPoint(name))}
        at, sown, logits = _at_position(self.at, with_positions, self.logits, index)
        return dataclasses.replace(self, at=at, sown={**self.sown, **sown}, logits=logits)


@jax.jit
def _at_position(at: jax.Array, sown: dict[str, Any], logits: jax.Array | None, index: jax.Array) -> tuple[Any, ...]:
    def keep(value: jax.Array, axis: int) -> jax.Array:
        return jnp.take(value, index[None], axis=axis)

    kept = {name: keep(value, axes_of(HookPoint(name)).index("position")) for name, value in sown.items()}
    return keep(at, 0), kept, None if logits is None else keep(logits, 1)


@partial(jax.jit, static_argnums=3)
def _along_sites(attn: jax.Array, mlp: jax.Array, final: jax.Array, order: StreamOrder) -> jax.Array:
    return jnp.concatenate([order.interleave(attn, mlp), final[None]])


def bare(trace: Trace) -> Trace:
    """The trace as an argument of a program that reads sites and weights alone.

    Programs are kept by all their arguments: another tokenizer, or what observers kept, is no reason to compile again.
    """
    return dataclasses.replace(trace, logits=None, vocabulary=None, observed={})


def recorded_index(trace: Trace, position: int) -> jax.Array:
    """Where a column of the tokens stands among the recorded positions: a scalar.

    Raises:
        LandedError: if the column is not there or was not recorded (under ``jit`` the latter cannot be seen).
    """
    length = trace.tokens.ids.shape[-1]
    column = position + length if position < 0 else position
    if not 0 <= column < length:
        raise LandedError(f"Position {position} is outside the prompt, whose positions run from 0 to {length - 1}.")
    if not is_concrete(trace.at):
        return jnp.argmax(trace.at == column)
    found = np.asarray(trace.at) == column
    if not found.any():
        raise LandedError(f"Position {position} was not recorded; the trace has {trace.at.tolist()}.")
    return jnp.asarray(np.argmax(found))
