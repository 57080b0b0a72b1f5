"""Path patching: what nodes of another run do to a value through some reads alone."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from landed_jax.circuits._circuit import run_masks
from landed_jax.circuits._graph import Graph
from landed_jax.circuits._others import known_of
from landed_jax.errors import LandedError
from landed_jax.interventions._measures import Measure
from landed_jax.model import Model, Prompts
from landed_jax.numerics import left_broadcast
from landed_jax.prompts import read_prompts, warn_of
from landed_jax.results.result import Result, result

Names = str | Iterable[str]

_NO_EDGE = "None of these reads hears one of these nodes: they come before them."


@result
class PathPatches(Result):
    """What a value becomes where nodes' writes are those of another run in some reads.

    Attributes:
        value: of each path's run.
        clean: of the run without any.
        paths: what each place on the axis is called.
    """

    value: Float[Array, "path batch"]
    clean: Float[Array, " batch"]
    paths: tuple[str, ...] = dataclasses.field(default=(), metadata={"static": True})

    @property
    def effect(self) -> Float[Array, "path batch"]:
        """``clean − value``: positive where the path supports the clean value."""
        return left_broadcast(self.clean, self.value) - self.value


def path_patch(
    model: Model,
    clean: Prompts,
    corrupted: Prompts,
    senders: Names,
    reads: Names | None,
    measure: Measure = None,
    **how: Any,
) -> PathPatches:
    """The clean run with nodes' writes as in the corrupted one, but in some reads alone: one path, exactly.

    The reads hear the other write in place of the node's; their σ is that of what they hear, and what they compute goes
    on to all later reads. All other reads hear the node as it runs. Through ``logits`` alone it is the direct effect of
    resampling, through all reads the total effect of replacing the nodes' writes. A path goes over one edge; MLPs are
    nodes, so that what goes through an MLP is another path. (Wang et al. let direct paths go through MLPs.)

    Args:
        clean, corrupted: prompts of as many tokens each; measured is the last column.
        senders: names of nodes, such as ``"a2.h7"``.
        reads: names of reads, such as ``"a3.h1<q>"``, ``"m3"``, ``"logits"``; a head's own name stands for its three;
            None for all.
        measure: as for `landed.sweep`: by default the clean prompt's own most likely next token.
        how: as for `circuit_values`: another ``ablation``, ``freeze_sigma``, ….

    Raises:
        LandedError: for names that there are not, prompts that are not aligned, and what `landed.sweep` refuses of a
            measure.

    References:
        Wang et al., Interpretability in the Wild, 2022; Goldowsky-Dill et al., Localizing Model Behavior with Path
        Patching, 2023.

    >>> import landed_jax as landed
    >>> prompts = "The Colosseum is in the city of", "The Louvre is in the city of"
    >>> found = path_patch(landed.load(), *prompts, "a2.h7", "logits", " Rome")
    >>> round(float(found.effect[0, 0]), 2)
    2.19
    """
    graph = Graph.of(model.config)
    senders = [senders] if isinstance(senders, str) else list(senders)
    reads = None if reads is None else [reads] if isinstance(reads, str) else list(reads)
    name = f"{', '.join(senders)}->{'every read' if reads is None else ', '.join(reads)}"
    patched = graph.between(senders, graph.reads if reads is None else reads)
    if not patched.any():
        raise LandedError(_NO_EDGE)
    return _patched(model, clean, corrupted, patched[None], (name,), measure, how)


def path_sweep(
    model: Model,
    clean: Prompts,
    corrupted: Prompts,
    *,
    senders: Names | None = None,
    reads: Names | None = None,
    measure: Measure = None,
    **how: Any,
) -> PathPatches:
    """Path patching of every node into the same reads, or of the same nodes into every read that hears them.

    Args:
        senders, reads: one of the two, as for `path_patch`; of the other every one is a path.
        measure, how: as for `path_patch`.

    Raises:
        LandedError: where not one of the two is given, and as `path_patch`.

    >>> import landed_jax as landed
    >>> prompts = "The Colosseum is in the city of", "The Louvre is in the city of"
    >>> found = path_sweep(landed.load(), *prompts, reads="logits", measure=landed.Logit(" Rome", against=" Paris"))
    >>> best = found.effect[:, 0].argsort()[::-1][:3]
    >>> [(found.paths[path], round(float(found.effect[path, 0]), 2)) for path in best]
    [('m3', 15.18), ('m2', 5.52), ('a2.h7', 4.08)]
    """
    graph = Graph.of(model.config)
    if (senders is None) == (reads is None):
        raise LandedError("A sweep of paths takes senders= or reads=: of the other, every one is a path.")
    exists = graph.exists
    if reads is not None:
        chosen, names = exists & np.isin(np.arange(len(exists)), graph.read_numbers(reads))[:, None], graph.senders
        each = [chosen & (np.arange(exists.shape[1]) == place)[None] for place in range(len(names))]
    else:
        chosen, names = exists & np.isin(np.arange(exists.shape[1]), graph.sender_numbers(senders or ())), graph.reads
        each = [chosen & (np.arange(len(exists)) == place)[:, None] for place in range(len(names))]
    paths = {name: matrix[exists] for name, matrix in zip(names, each, strict=True) if matrix.any()}
    if not paths:
        raise LandedError(_NO_EDGE)
    return _patched(model, clean, corrupted, np.stack(list(paths.values())), tuple(paths), measure, how)


def _patched(
    model: Model,
    clean: Prompts,
    corrupted: Prompts,
    patched: Bool[np.ndarray, "path edge"],
    names: Sequence[str],
    measure: Measure,
    how: dict[str, Any],
) -> PathPatches:
    read = [read_prompts(side, model.vocabulary, model.config, model.no_vocabulary) for side in (clean, corrupted)]
    for _, said in read:
        warn_of(said)
    (own, _), (other, _) = read
    none = np.zeros_like(patched[:1])
    values = run_masks(model, own, other, jnp.asarray(~np.concatenate([none, patched])), measure, **how)
    return PathPatches(values[1:], values[0], tuple(names), provenance=known_of(model, own))
