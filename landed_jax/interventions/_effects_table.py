"""Total, direct and indirect effect of each component on one value, and what later components give back."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from landed_jax.analysis.attribution._attribute import attribute
from landed_jax.analysis.attribution._layer_effects import layer_effects
from landed_jax.analysis.reads._questions import Logit, QuestionLike, as_question, resolve
from landed_jax.analysis.reads._targets import Target
from landed_jax.errors import LandedError, shown
from landed_jax.interventions._intervene import freeze_sigma
from landed_jax.interventions._neuron_values import of_neuron
from landed_jax.interventions._stacks import Stack, chosen_neurons, every_head, every_part
from landed_jax.interventions._sweep import Progress, Sweep, labels_of, run_sweep
from landed_jax.model import Model, Prompts
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.hook_points import SCALES
from landed_jax.prompts import read_prompts, warn_of
from landed_jax.results.result import Result, result
from landed_jax.trace import Trace

Components = str | Sequence[Sequence[int]]
"""``"heads"``; ``"parts"``, each layer's attention and MLP; or neurons, each ``(layer, index)``, of an expert ``(layer,
expert, index)``."""


@result
class Effects(Result):
    """What each component does to a value: lost when it is removed at all positions, in units of the value.

    Attributes:
        total: clean value less the value of a run without the component (its factor or its write is 0).
        direct: clean value less the value without the component's write to the asked position's last stream, everything
            else as it ran, σ recomputed: in closed form.
        total_frozen: as `total`, in a run in which every σ is held as in the clean one.
        direct_frozen: the landed contribution.
        given_back: how much more every later write says of the value in the run without the component than in the
            clean one, each layer's attention and MLP (``part``), σ of the last norm as in the clean run: self-repair
            where it has the sign of the direct effect. Under an output norm the rest of the component's own block is
            among them, as its σ′ follows.
        value: the clean run's.
        target, against: ids ``[batch, position]``; None for a direction of the user's.
        labels: the components' axes and what is on them.
    """

    total: Float[Array, "*component batch position"]
    direct: Float[Array, "*component batch position"]
    total_frozen: Float[Array, "*component batch position"]
    direct_frozen: Float[Array, "*component batch position"]
    given_back: Float[Array, "*component reader part batch position"]
    value: Float[Array, "batch position"]
    target: Int[Array, "batch position"] | None = None
    against: Int[Array, "batch position"] | None = None
    labels: tuple[tuple[str, tuple[Any, ...]], ...] = dataclasses.field(default=(), metadata={"static": True})

    @property
    def indirect(self) -> Float[Array, "*component batch position"]:
        """``total − direct``: through later components, σ live."""
        return self.total - self.direct

    @property
    def indirect_frozen(self) -> Float[Array, "*component batch position"]:
        """``total_frozen − direct_frozen``."""
        return self.total_frozen - self.direct_frozen

    @property
    def self_repair(self) -> Float[Array, "*component batch position"]:
        """`given_back`, by all later writes together."""
        return jnp.sum(self.given_back, axis=(-4, -3))

    @property
    def parts(self) -> tuple[str, str]:
        """What is along the axis ``part``."""
        return ("attn", "mlp")

    def __getattr__(self, name: str) -> tuple[Any, ...]:
        """The labels of an axis, by its name and an s: ``hook_points``, ``neurons``."""
        return labels_of(self, name)

    def to_xarray(self, *, axes: Sequence[str] | None = None, derived: bool = False) -> Any:
        """The result with named axes; see `landed_jax.results.dataset.to_xarray`."""
        return super().to_xarray(axes=[name for name, _ in self.labels] if axes is None else axes, derived=derived)


def effects_table(
    model: Model,
    tokens: Prompts,
    question: QuestionLike = None,
    against: Target | None = None,
    *,
    components: Components = "heads",
    at: int | Sequence[int] = -1,
    progress: Progress | None = None,
    dtype: Any = None,
) -> Effects:
    """Total, direct and indirect effects of components, each with σ live and σ frozen.

    Every effect is of a *zero* ablation, whose direct part has a closed form; a run in which the component's output is
    0 can be far from anything that the model was trained on. For mean or resample ablation give `sweep` a stack made
    with `mean_of` or `patch`: its effect is a total one.

    Args:
        question: a logit or a difference (or a `Vector` at the final norm), or a token, short for its logit; by default
            each asked position's own most likely next token.
        components: ``"heads"``, ``"parts"`` (each layer's attention and MLP, output biases included), or neurons.
        at: the columns asked.
        progress: called with the number of finished runs and of all.

    Raises:
        LandedError: as `sweep` and `attribute` do.

    References:
        Vig et al., Causal Mediation Analysis, 2020 (total, direct, indirect); McGrath et al., The Hydra Effect, 2023,
        and Rushing & Nanda, Explorations of Self-Repair, 2024 (later components give back).

    >>> from landed_jax import load
    >>> from landed_jax.interventions import effects_table
    >>> found = effects_table(load(), "The Colosseum is in the city of", " Rome", " Athens")
    >>> found.total.shape, bool(jnp.allclose(found.direct + found.indirect, found.total, atol=1e-4))
    ((4, 8, 1, 1), True)
    """
    prompts, said = read_prompts(tokens, model.vocabulary, model.config, model.no_vocabulary)
    warn_of(said)
    stack = _stack(model.config, components)
    asked = as_question(question, against)
    asked = asked.in_ids(model.vocabulary, model.config) if isinstance(asked, Logit) else asked
    columns = [at] if isinstance(at, int) else list(at)
    trace = model.trace(prompts, at=columns, dtype=dtype)
    read = resolve(trace, asked)
    direct, landed = _direct(trace, read, components)
    whole = model.trace(prompts, record=SCALES, dtype=dtype)
    count = 2 * len(stack)

    def swept(always: Any, done: int, watch: bool) -> Sweep:
        step = None if progress is None else functools.partial(_step, progress, done, count)
        return run_sweep(model, prompts, stack, asked, at, always, None, step, dtype, watch=watch)

    live = swept((), 0, True)
    frozen = swept(freeze_sigma(whole), len(stack), False)
    given_back = _given_back(live, landed)
    values = live.effect, direct, frozen.effect, landed, given_back, live.clean
    return Effects(*values, read.target, read.against, live.labels, provenance=live.provenance)


def _step(progress: Progress, before: int, count: int, done: int, _: int) -> None:
    progress(before + done, count)


def _stack(config: ModelConfig, components: Components) -> Stack:
    if isinstance(components, str):
        if components not in ("heads", "parts"):
            raise LandedError(f"Effects are of heads, of parts, or of a list of neurons, not of {shown(components)}.")
        return every_head(config) if components == "heads" else every_part(config)
    return chosen_neurons(components)


def _direct(trace: Trace, question: QuestionLike, components: Components) -> tuple[jax.Array, jax.Array]:
    """Direct effects and landed contributions, in the axes of the components' stack."""
    if components == "parts":
        found = layer_effects(trace, question)
        return jnp.stack([found.attn_effect, found.mlp_effect]), jnp.stack([found.attn_landed, found.mlp_landed])
    shares = attribute(trace, question)
    both = shares.direct_effect, shares.landed
    if components == "heads":
        direct, landed = (jnp.moveaxis(part.heads, -1, 1) for part in both if part is not None)
        return direct, landed
    direct, landed = (
        jnp.stack(
            [of_neuron(trace, part.neurons[place[0]], place) for place in components if not isinstance(place, str)]
        )
        for part in both
        if part is not None
    )
    return direct, landed


def _given_back(live: Sweep, landed: jax.Array) -> jax.Array:
    """What the writes say more than in the clean run; the component's own write is not its own repair."""
    assert live.watched is not None  # asked for above
    more, axes = np.array(live.watched), dict(live.labels)
    flat, own = more.reshape(-1, *more.shape[-4:]), np.asarray(landed).reshape(-1, *landed.shape[-2:])
    for place, (layer, part) in enumerate(_owners(axes)):
        flat[place, layer, part] += own[place]
    return jnp.asarray(flat.reshape(more.shape))


def _owners(axes: Mapping[str, tuple[Any, ...]]) -> list[tuple[int, int]]:
    """The layer, and attention (0) or MLP (1), of each component."""
    if "head" in axes:
        return [(layer, 0) for layer in axes["layer"] for _ in axes["head"]]
    if "hook_point" in axes:
        return [(layer, part) for part in (0, 1) for layer in axes["layer"]]
    return [(int(name.split(".")[0]), 1) for name in axes["neuron"]]
