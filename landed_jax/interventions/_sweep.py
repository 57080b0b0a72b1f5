"""Many interventions on the same prompts, with the work that they share done once."""

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from landed_jax.interventions._chunks import Chunk, chunks_of
from landed_jax.interventions._measures import Measure
from landed_jax.interventions._runs import Runs
from landed_jax.interventions._saved import Saved
from landed_jax.interventions._stacks import Stack, check_shape, stack_of
from landed_jax.memory.estimates import choose_runs, sweep_bytes, weight_bytes
from landed_jax.model import Model, Prompts
from landed_jax.nn.intervention import Interventions, checked, checked_members
from landed_jax.numerics import compute_dtype, left_broadcast
from landed_jax.prompts import read_prompts, warn_of
from landed_jax.results.result import Result, result
from landed_jax.tokens import columns

_SMALL = 1 << 26  # bytes

Progress = Callable[[int, int], None]
"""``progress(done, total)``, called as runs finish."""


@result
class Sweep(Result):
    """What was measured under each intervention.

    Attributes:
        value: ``[*axes, batch, position]``, in the axes of the stack.
        clean: ``[batch, position]``, without any.
        watched: where asked for, how much more than in the clean run each write of each layer (its attention's and its
            MLP's, the axis ``part``) says of the value, σ of the last norm as in that run; see `effects_table`.
        labels: of each of the stack's axes, its name and what each place on it is called.
    """

    value: Float[Array, "*intervention batch position"]
    clean: Float[Array, "batch position"]
    watched: Float[Array, "*intervention reader part batch position"] | None = None
    labels: tuple[tuple[str, tuple[Any, ...]], ...] = dataclasses.field(default=(), metadata={"static": True})

    @property
    def effect(self) -> Float[Array, "*intervention batch position"]:
        """``clean − value``: what was lost, the total effect where the intervention removes something."""
        return left_broadcast(self.clean, self.value) - self.value

    def __getattr__(self, name: str) -> tuple[Any, ...]:
        """The labels of an axis, by its name and an s: ``hook_points``, ``columns``."""
        return labels_of(self, name)

    def to_xarray(self, *, axes: Sequence[str] | None = None, derived: bool = False) -> Any:
        """The result with named axes, those of the stack among them; see `landed_jax.results.dataset.to_xarray`."""
        return super().to_xarray(axes=[name for name, _ in self.labels] if axes is None else axes, derived=derived)


def labels_of(part: Any, name: str) -> tuple[Any, ...]:
    """The labels of an axis of a result.

    Raises:
        AttributeError: where it has no such axis.
    """
    for axis, labels in part.__dict__.get("labels", ()):
        if name == f"{axis}s":
            return labels
    raise AttributeError(f"A {type(part).__name__} has no {name}.")


def sweep(
    model: Model,
    tokens: Prompts,
    interventions: Stack | Sequence[Interventions],
    measure: Measure = None,
    *,
    at: int | Sequence[int] = -1,
    always: Interventions = (),
    out: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    dtype: Any = None,
) -> Sweep:
    """Measure a run of the model under each of many interventions.

    The prompts are run once without any. A run whose first intervention is in layer l starts from that run's stream
    before l; where only some positions are changed, the columns before them are taken from it too, as keys and values;
    and of the last layer's stream only the asked positions are read. Runs that begin together are computed together,
    as many as a quarter of the memory holds.

    Args:
        tokens: a prompt, or several of which all get the same interventions; computed in the shape they have.
        interventions: a `Stack`, such as `every_head(model.config)`; or a list, each element one run: an intervention,
            or several together.
        measure: what is measured at the asked positions: a question at the final norm or a token, short for its logit
            (by default each position's own most likely next token in the clean run); `LogProbability`, `Divergence`,
            `Rank`; or a function of the logits ``[batch, position, vocab]``.
        at: the columns asked, from the left or (negative) from the right.
        always: interventions that take part in every run, the clean one too: `freeze_sigma` of a trace, for example.
        out: a folder that keeps finished chunks: the same call after an interruption goes on from there.
        progress: called with the number of finished runs and of all.
        dtype: float32 or float64; by default JAX's default float.

    Raises:
        LandedError: for interventions that the model cannot have (in one sentence, before anything runs), what
            `resolve` refuses, and a folder that holds another sweep.

    References:
        Wang et al., Interpretability in the Wild, 2022 (ablation of every head); Meng et al., Locating and Editing
        Factual Associations in GPT, 2022 (every layer and position).

    >>> from landed_jax import load
    >>> from landed_jax.interventions import every_head, sweep
    >>> model = load()
    >>> sweep(model, "The Colosseum is in the city of", every_head(model.config)).value.shape
    (4, 8, 1, 1)
    """
    return run_sweep(model, tokens, interventions, measure, at, always, out, progress, dtype, watch=False)


def run_sweep(
    model: Model,
    tokens: Prompts,
    interventions: Any,
    measure: Measure,
    at: Any,
    always: Any,
    out: str | os.PathLike[str] | None,
    progress: Progress | None,
    dtype: Any,
    *,
    watch: bool,
) -> Sweep:
    """`sweep`; with `watch` also what every later write says of the value."""
    prompts, said = read_prompts(tokens, model.vocabulary, model.config, model.no_vocabulary)
    warn_of(said)
    stack = stack_of(interventions)
    check_shape(stack)
    shape, config = prompts.ids.shape, model.config
    members = checked_members(stack.members, config, *shape)
    asked, together = columns(at, shape[1]), checked(always, config, *shape)
    runs = Runs.of(model, prompts, together, asked, measure, compute_dtype(dtype), watch)
    known = tuple(np.asarray(asked).tolist())
    needed = sweep_bytes(config, batch=shape[0], length=max(known) + 1, positions=len(known), dtype=dtype)
    # Asking the machine takes longer than a small sweep.
    small = needed["run"] * len(stack) < _SMALL
    most = len(stack) if small else choose_runs(needed, weight_bytes(model.params))
    chunks = chunks_of(members, config, known, shape[0], most)
    clean = runs.value()
    saved = Saved.of(out, model.params, runs.measure, prompts, asked, together, members, str(clean.dtype), watch)
    found = _gathered(runs, chunks, saved, len(stack), progress)
    by_axis = [jnp.asarray(part.reshape(*stack.shape, *part.shape[1:])) for part in found]
    labels = tuple((name, tuple(labels)) for name, labels in stack.axes.items())
    return Sweep(by_axis[0], clean, by_axis[1] if watch else None, labels, provenance=runs.clean.provenance)


def _gathered(
    runs: Runs, chunks: Sequence[Chunk], saved: Saved, count: int, progress: Progress | None
) -> list[np.ndarray]:
    """Each chunk's arrays, in the order of the stack."""
    whole: list[np.ndarray] = []
    done = 0
    for chunk, found in _one_ahead(runs, chunks, saved):
        kept = [np.asarray(part)[: len(chunk.places)] for part in found]
        saved.put(chunk.places, kept)
        whole = whole or [np.zeros((count, *part.shape[1:]), part.dtype) for part in kept]
        for into, part in zip(whole, kept, strict=True):
            into[list(chunk.places)] = part
        done += len(chunk.places)
        if progress is not None:
            progress(done, count)
    return whole


def _one_ahead(runs: Runs, chunks: Sequence[Chunk], saved: Saved) -> Iterator[tuple[Chunk, Sequence[Any]]]:
    """Each chunk's arrays, the next chunk under way while they are read."""
    waiting: list[tuple[Chunk, Sequence[Any]]] = []
    for chunk in chunks:
        found = saved.get(chunk.places)
        waiting.append((chunk, [part for part in runs.run(chunk) if part is not None] if found is None else found))
        if len(waiting) > 1:
            yield waiting.pop(0)
    yield from waiting
