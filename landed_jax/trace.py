"""What one forward pass left behind: σ, γ and the factors of every write, with named axes."""

import dataclasses
import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from landed_jax.errors import LandedError
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.experts import Chosen
from landed_jax.nn.hook_points import GROUPS, HookPoint, absent, axes_of
from landed_jax.nn.parameters import Params, norm_biases
from landed_jax.nn.stream_order import StreamOrder
from landed_jax.numerics import is_concrete
from landed_jax.provenance import Provenance
from landed_jax.shapes import ShapeRepr, array_texts, shapes_of, tree_html
from landed_jax.tokens import Tokens
from landed_jax.vocabulary import Vocabulary


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False)
class Trace(ShapeRepr):
    """The recorded values of one forward pass: a pytree, so it goes through ``jit`` and ``vmap``.

    Attributes:
        provenance: the prompts, the recorded positions, the model.
        sown: each recorded `HookPoint`'s value; `axes` names its axes.
        logits: ``[batch, position, vocab]``, where the trace was asked to keep them.
        params: the weights, once the trace is bound to them; the analyses need them.
        observed: what each observer of the pass kept, by its name, with a leading layer axis.
        bucketed: whether analyses compute with padding (which their results do not show), so that prompts of about the
            same length share compiled programs.

    >>> from landed_jax import ModelConfig, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> forward(init_params(config, jax.random.key(0)), jnp.array([[1, 5, 7]]), config, record={HookPoint.HEAD})[1]
    Trace(2 layers, 1 × 3 tokens; head f32[2,1,3,4,4])
    """

    provenance: Provenance
    sown: dict[str, jax.Array]
    logits: jax.Array | None = None
    params: Params | None = None
    observed: dict[str, Any] = dataclasses.field(default_factory=dict, kw_only=True)
    bucketed: bool = dataclasses.field(default=False, kw_only=True, metadata={"static": True})

    @property
    def tokens(self) -> Tokens:
        """The prompts."""
        return self.provenance.tokens

    @property
    def at(self) -> Int[Array, " position"]:
        """The columns of the tokens that were recorded (counted from 0)."""
        return self.provenance.at

    @property
    def config(self) -> ModelConfig:
        """The model's architecture."""
        return self.provenance.config

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The tokenizer's view of ids; targets given as text need it."""
        return self.provenance.vocabulary

    def bind(
        self, params: Params, vocabulary: Vocabulary | None = None, model: str = "", notes: tuple[str, ...] = ()
    ) -> "Trace":
        """The same trace with the weights that made it (held, not copied), ready for analysis.

        Args:
            model: what the results are to call the model.
            notes: what they are to say of how its weights were read.
        """
        old = self.provenance
        known = dataclasses.replace(
            old, vocabulary=vocabulary or old.vocabulary, model=model or old.model, notes=notes or old.notes
        )
        return dataclasses.replace(self, params=params, provenance=known)

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
            LandedError: if the site was not recorded, or the model does not have it.
        """
        site = HookPoint(site)
        if site in (without := absent(self.config)):
            raise LandedError(f"This model has no {site.value}: {without[site]}.")
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
        return self.provenance.order

    def _per_read_site(self, kind: str) -> jax.Array:
        return _along_sites(*(self[HookPoint(f"{norm}_{kind}")] for norm in ("attn", "mlp", "final")), self.order)

    @property
    def real(self) -> Bool[Array, "batch position"]:
        """False where a recorded position is padding."""
        return self.provenance.real

    @property
    def sigma(self) -> Float[Array, "site batch position"]:
        """σ at every read site, in the order ``0.attn, 0.mlp, 1.attn, …, final``."""
        return self._per_read_site("sigma")

    @property
    def gamma(self) -> Float[Array, "site d_model"]:
        """γ at every read site, as the norm applies it."""
        return self._per_read_site("gamma")

    @property
    def beta(self) -> Float[Array, "site d_model"] | None:
        """β at every read site, of the bound weights; None in a model whose norms have none.

        Raises:
            LandedError: if the trace is not bound.
        """
        betas = norm_biases(self.weights())
        return None if betas is None else _along_sites(*(beta.astype(self.gamma.dtype) for beta in betas), self.order)

    @property
    def embeddings(self) -> dict[str, Float[Array, "batch position d_model"]]:
        """The writes before the layers: the token's embedding, and where positions are learned the position's."""
        named = {"embedding": HookPoint.EMBEDDING, "position_embedding": HookPoint.POSITION_EMBEDDING}
        return {name: self[point] for name, point in named.items() if point not in absent(self.config)}

    @property
    def chosen(self) -> Chosen | None:
        """The experts that each position of each layer used, with their weights; None in a model without experts."""
        return Chosen(self[HookPoint.EXPERT], self[HookPoint.EXPERT_WEIGHT]) if self.config.n_experts else None

    @property
    def start(self) -> Float[Array, "batch position d_model"]:
        """The stream before the first layer."""
        return functools.reduce(jnp.add, self.embeddings.values())

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
        index = self.provenance.recorded(position)
        with_positions = {name: value for name, value in self.sown.items() if "position" in axes_of(HookPoint(name))}
        at, sown, logits = _at_position(self.at, with_positions, self.logits, index)
        known = dataclasses.replace(self.provenance, at=at)
        return dataclasses.replace(self, provenance=known, sown={**self.sown, **sown}, logits=logits)

    def __repr__(self) -> str:
        held = {**self.sown, "logits": self.logits, "observed": self.observed}
        return f"Trace({self.provenance.summary()}; {', '.join(array_texts(held))})"

    def _repr_html_(self) -> str | None:
        """What a notebook shows: a tree of what was recorded, by treescope; of the weights their shapes alone."""
        if not all(map(is_concrete, jax.tree.leaves((self.sown, self.logits, self.observed)))):
            return None
        held = {**self.sown} | ({} if self.logits is None else {"logits": self.logits})
        held |= {"observed": self.observed} if self.observed else {}
        weights = {} if self.params is None else {"params": shapes_of(self.params)}
        return tree_html({self.provenance.summary(): {**held, **weights}})


@jax.jit
def _at_position(at: jax.Array, sown: dict[str, Any], logits: jax.Array | None, index: jax.Array) -> tuple[Any, ...]:
    def keep(value: jax.Array, axis: int) -> jax.Array:
        return jnp.take(value, index[None], axis=axis)

    kept = {name: keep(value, axes_of(HookPoint(name)).index("position")) for name, value in sown.items()}
    return keep(at, 0), kept, None if logits is None else keep(logits, 1)


@functools.partial(jax.jit, static_argnums=3)
def _along_sites(attn: jax.Array, mlp: jax.Array, final: jax.Array, order: StreamOrder) -> jax.Array:
    return jnp.concatenate([order.interleave(attn, mlp), final[None]])


def bare(trace: Trace) -> Trace:
    """The trace as an argument of a program that reads recorded values and weights alone.

    Programs are kept by all their arguments: another tokenizer, another model of the same shape, or what observers kept
    is no reason to compile again.
    """
    known = dataclasses.replace(trace.provenance, vocabulary=None, model="", notes=())
    return dataclasses.replace(trace, provenance=known, logits=None, observed={}, bucketed=False)
