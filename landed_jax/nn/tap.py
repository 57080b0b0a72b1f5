"""The one place through which every named value passes: edited if asked, then recorded if asked."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from landed_jax.errors import LandedError
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.experts import Chosen
from landed_jax.nn.gradient_rules import PLAIN, GradientRules
from landed_jax.nn.hook_points import AXES, HookPoint, absent, as_site, as_sites, present
from landed_jax.nn.intervention import Intervention, intervened
from landed_jax.nn.layer_writes import LayerWrites
from landed_jax.nn.output_scale import OutputScale
from landed_jax.nn.schedule import after, computed_once

Edit = Callable[[jax.Array, jax.Array | None], jax.Array]
"""``edit(value, layer)`` gives the value that the model goes on with; `layer` is a scalar, None outside layers."""


Observer = Callable[[LayerWrites], Any]
"""``observer(writes)`` looks at one layer's writes, as edited, and gives any pytree of arrays to keep."""


@dataclass(frozen=True)
class Plan:
    """What to record and edit, who looks at the writes, what the derivative is. Static: it decides what is compiled."""

    record: frozenset[HookPoint] = frozenset()
    edits: tuple[tuple[HookPoint, Edit], ...] = ()
    observers: tuple[tuple[str, Observer], ...] = ()
    rules: GradientRules = PLAIN

    def edits_any(self, site: HookPoint) -> bool:
        """Whether the value at a site is to be edited."""
        return any(edited == site for edited, _ in self.edits)


def as_plan(config: ModelConfig, record: Any, edits: Any, observers: Any) -> Plan:
    """A plan of what the user asked for; of the groups' sites to record, those that the model has.

    Raises:
        LandedError: for what is no collection of sites, or no mapping to functions, an edit of what the model does not
            have, or such a site to record that is in no group.
    """
    for name, given in (("edits", edits), ("observers", observers)):
        if given is not None and not (isinstance(given, Mapping) and all(map(callable, given.values()))):
            keys = "sites" if name == "edits" else "names"
            raise LandedError(f"{name}= takes a dictionary from {keys} to functions, not {given!r}.")
    edited = tuple((as_site(site), edit) for site, edit in (edits or {}).items())
    without = absent(config)
    for site, _ in edited:
        if site in without:
            raise LandedError(f"This model has no {site.value} to edit: {without[site]}.")
    return Plan(present(as_sites(record), config), edited, tuple((observers or {}).items()))


class Context(NamedTuple):
    """What every layer shares.

    Attributes:
        rotary: cos and sin of each of the model's `ropes`, ``[batch, position, rotated / 2]``.
        query_scale: what queries are multiplied by, ``[batch, position]``, or None.
        mask: ``[batch, position]``, False on padding.
        positions: ``[batch, position]``, each token's place in its own prompt.
        at: the positions whose values are recorded, or None for all.
        interventions: what is done to values; applied before edits.
        columns: which columns of the tokens the values hold, or None for all.
        earlier: one layer's keys and values of the columns before `columns`, ``[batch, source, kv_head, head_dim]``,
            where those are the last ones of a prompt whose others are known.
        cache: keys and values of all columns that `mask` has, ``[layer, batch, source, kv_head, head_dim]``, in a layer
            its own without the first axis; those of `columns`, which follow one another, are put in their place.
        experts: which experts each position chose, ``[batch, position, slot]``, where the values are of those.
        asked: the places of the only columns whose values are needed behind this layer's keys and values, or None.
    """

    rotary: tuple[tuple[jax.Array, jax.Array], ...]
    query_scale: jax.Array | None
    mask: jax.Array
    positions: jax.Array
    at: jax.Array | None
    interventions: tuple[Intervention, ...] = ()
    columns: jax.Array | None = None
    earlier: tuple[jax.Array, jax.Array] | None = None
    cache: tuple[jax.Array, jax.Array] | None = None
    asked: jax.Array | None = None
    experts: jax.Array | None = None

    def narrowed(self) -> "Context":
        """Of the asked columns alone, as queries: the mask stays that of all keys."""
        if (asked := self.asked) is None:
            return self
        columns = jnp.arange(self.mask.shape[1]) if self.columns is None else self.columns
        return self._replace(
            rotary=tuple((cos[:, asked], sin[:, asked]) for cos, sin in self.rotary),
            query_scale=None if self.query_scale is None else self.query_scale[:, asked],
            positions=self.positions[:, asked],
            columns=columns[asked],
            asked=None,
        )

    def intervenes_on(self, site: HookPoint) -> bool:
        """Whether an intervention is meant for a hook point."""
        return any(one.site == site for one in self.interventions)


def select_positions(value: jax.Array, axes: tuple[str, ...], at: jax.Array | None) -> jax.Array:
    """Keep the positions `at` of a value, where it has a position axis."""
    if at is None or "position" not in axes:
        return value
    # XLA on a CPU would recompute the selection at every use, and keep the values of all positions until the last.
    return computed_once(lambda whole: jnp.take(whole, at, axis=axes.index("position")), value)


def tap(
    module: nn.Module, plan: Plan, site: HookPoint, value: jax.Array, layer: jax.Array | None, context: Context
) -> jax.Array:
    """Pass `value` through `site`: it is changed first, so that what is recorded is what the model used."""
    value = intervened(context.interventions, site, value, layer, context.columns, context.experts)
    for edited_site, edit in plan.edits:
        if edited_site == site:
            value = _edited(edit, site, value, layer)
    if site in plan.record:
        record(module, site, select_positions(value, AXES[site], context.at))
    return value


def record(module: nn.Module, site: HookPoint, value: jax.Array) -> None:
    """Keep a site's value, of the recorded positions alone."""
    _sow(module, "intermediates", site.value, value)


def _edited(edit: Edit, site: HookPoint, value: jax.Array, layer: jax.Array | None) -> jax.Array:
    try:
        given: Any = edit(value, layer)
    except (jax.errors.ConcretizationTypeError, jax.errors.TracerIntegerConversionError) as error:
        raise LandedError(
            f"The edit of {site.value} needs a number that is not known when the program is compiled, as for Python's "
            f"if, int() or and: write jnp.where(layer == 3, new, value) in place of `if layer == 3`. "
            f"({str(error).splitlines()[0]})"
        ) from error
    if not isinstance(given, jax.Array | np.ndarray) or given.shape != value.shape or given.dtype != value.dtype:
        is_array = isinstance(given, jax.Array | np.ndarray)
        found = f"{given.dtype} of shape {list(given.shape)}" if is_array else repr(given)
        raise LandedError(
            f"The edit of {site.value} gives {found}, where the model goes on with {value.dtype} of shape "
            f"{list(value.shape)}."
        )
    return jnp.asarray(given)


def observe(
    module: nn.Module,
    plan: Plan,
    x: jax.Array,
    layer: jax.Array,
    z: jax.Array,
    a: jax.Array,
    scales: tuple[OutputScale, OutputScale],
    chosen: Chosen | None,
    context: Context,
) -> jax.Array:
    """Keep what each observer makes of one layer's writes at the recorded positions; `module` owns the layer.

    Gives the stream x back, which the next layer is to go on with.
    """
    at = context.at
    if at is not None and plan.record:
        # The recorded positions are selected before the next layer runs: only then can the other positions be freed.
        x = after(x, module.variables.get("intermediates", {}))
    if not plan.observers:
        return x
    z, a = (select_positions(value, AXES[site], at) for site, value in ((HookPoint.HEAD, z), (HookPoint.NEURON, a)))
    scales = _at_positions(scales[0], at), _at_positions(scales[1], at)
    columns = jnp.arange(z.shape[1]) if at is None else at
    chosen = jax.tree.map(lambda leaf: select_positions(leaf, AXES[HookPoint.EXPERT], at), chosen)
    writes = LayerWrites.of(layer, module.variables["params"], z, a, scales, columns, context.mask, chosen=chosen)
    kept = jax.tree.map(jnp.asarray, {name: observer(writes) for name, observer in plan.observers})
    _sow(module, "observed", "by_name", kept)  # together: a name of the user's could be a part's
    # The observers run before the next layer: only then can this layer's factors be freed.
    return after(x, kept)


def _at_positions(scale: OutputScale, at: jax.Array | None) -> OutputScale:
    if scale.sigma is None:
        return scale
    return dataclasses.replace(scale, sigma=select_positions(scale.sigma, AXES[HookPoint.ATTN_OUT_SIGMA], at))


def _sow(module: nn.Module, collection: str, name: str, value: Any) -> None:
    module.sow(collection, name, value, reduce_fn=lambda _, new: new, init_fn=lambda: value)
