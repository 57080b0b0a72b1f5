"""An intervention as data: which numbers of a hook point are changed, and into what.

Where and what are arrays, so another head or layer is another value of the same compiled program.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from landed_jax.errors import LandedError, shown
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.hook_points import AXES, OUTSIDE_LAYERS, HookPoint, absent
from landed_jax.nn.parameters import axis_sizes
from landed_jax.numerics import is_concrete, layer_of
from landed_jax.shapes import ShapeRepr

Verb = Literal["zero", "scale", "add", "replace", "project_out"]
VERBS: tuple[Verb, ...] = get_args(Verb)

_COLUMNS = ("position", "source")  # axes that count the columns of the tokens


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False, eq=False)
class Intervention(ShapeRepr):
    """What is done to some numbers of one hook point. Make it with `landed.intervene`, which checks.

    A pytree: `site` and `do` are static, everything else is arrays.

    Attributes:
        site: the hook point.
        do: ``zero``; ``scale`` (times `value`); ``add``; ``replace`` (by `value`); ``project_out`` (the component along
            the vector `value`, along the last axis).
        where: by the name of an axis, the places on it: whole numbers ``[n]``, or of columns ``[batch, n]``, one row a
            prompt; negative ones count from the end. An axis that is not named is meant whole.
        value: what broadcasts to the hook point's value, all columns of the tokens counted; with one axis more, it has
            a leading layer axis.
    """

    site: HookPoint = dataclasses.field(metadata={"static": True})
    do: Verb = dataclasses.field(metadata={"static": True})
    where: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    value: Any = None

    def __repr__(self) -> str:
        places = "".join(f", {axis} {shown(np.asarray(at).tolist())}" for axis, at in self._known().items())
        return f"Intervention({self.do} {self.site.value}{places})"

    def _known(self) -> dict[str, Any]:
        return {axis: at for axis, at in self.where.items() if is_concrete(at) and np.ndim(at) <= 2}

    def applied(
        self, x: jax.Array, layer: jax.Array | None, columns: jax.Array | None, experts: jax.Array | None = None
    ) -> jax.Array:
        """The hook point's value, changed where it is meant.

        Args:
            layer: of this value; None outside of layers.
            columns: which columns of the tokens the value holds; None for all.
            experts: ``[batch, position, slot]``, which experts the value is of, where it is of some.
        """
        axes = AXES[self.site]
        changed = self._changed(x, self._here(x, layer, columns))
        if not self.where:
            return jnp.broadcast_to(changed, x.shape)
        mask = jnp.ones((1,) * x.ndim, bool)
        for axis, places in self.where.items():
            places = jnp.asarray(places, jnp.int32)
            if axis == "layer":
                mask = mask & jnp.any(places == jnp.asarray(layer, jnp.int32))
            elif axis == "expert" and axis not in axes:
                assert experts is not None  # `_axis_of` allows it at the hook points of chosen experts
                chosen = jnp.any(experts[..., None] == places[None, None, None].astype(experts.dtype), axis=-1)
                mask = mask & jnp.repeat(chosen, x.shape[-1] // experts.shape[-1], axis=-1)
            else:
                at = axes.index(axis)
                names = _columns(axis, x.shape[at], columns)
                if axis == "neuron" and experts is not None:  # each chosen expert's are numbered from 0
                    names = names % (x.shape[at] // experts.shape[-1])
                names = names.reshape((1,) * (places.ndim - 1) + (-1, 1))
                found = jnp.any(names == places[..., None, :], axis=-1)
                shape = [1] * x.ndim
                shape[at] = x.shape[at]
                shape[0] = found.shape[0] if found.ndim == 2 else shape[0]
                mask = mask & found.reshape(shape)
        return jnp.where(mask, changed, x)

    def _here(self, x: jax.Array, layer: jax.Array | None, columns: jax.Array | None) -> jax.Array | None:
        """`value` for this layer and these columns."""
        axes = AXES[self.site]
        if self.value is None:
            return None
        value = jnp.asarray(self.value)
        if value.ndim > len(axes) and layer is not None:
            value = layer_of(value, layer)
        for at, axis in enumerate(axes[len(axes) - value.ndim :]):
            size = x.shape[len(axes) - value.ndim + at]
            if axis in _COLUMNS and value.shape[at] > 1 and (columns is not None or value.shape[at] != size):
                value = jnp.take(value, _columns(axis, size, columns), axis=at)
        value = value.astype(x.dtype)
        return value.reshape((1,) * (x.ndim - value.ndim) + value.shape)

    def _changed(self, x: jax.Array, value: Any) -> jax.Array:
        if self.do == "zero":
            return jnp.zeros_like(x)
        if self.do == "scale":
            return x * value
        if self.do == "add":
            return x + value
        if self.do == "replace":
            return value
        along = jnp.sum(x * value, axis=-1, keepdims=True) / jnp.sum(value * value, axis=-1, keepdims=True)
        return x - along * value


Interventions = Intervention | Sequence[Any]
"""One intervention, or several, in the order in which those of one hook point are applied."""


def _columns(axis: str, size: int, columns: jax.Array | None) -> jax.Array:
    """What each place on an axis is called. A pattern's sources are all columns, whichever its queries are."""
    if axis in _COLUMNS and columns is not None and columns.shape[0] == size:
        return columns.astype(jnp.int32)
    return jnp.arange(size, dtype=jnp.int32)


def intervened(
    interventions: Sequence[Intervention],
    site: HookPoint,
    x: jax.Array,
    layer: jax.Array | None,
    columns: jax.Array | None,
    experts: jax.Array | None = None,
) -> jax.Array:
    """A hook point's value after those interventions that are meant for it."""
    for intervention in interventions:
        if intervention.site == site:
            x = intervention.applied(x, layer, columns, experts)
    return x


def flat(interventions: Any) -> tuple[Intervention, ...]:
    """Interventions in one tuple, however they are nested.

    Raises:
        LandedError: for what is none.
    """
    if interventions is None:
        return ()
    if isinstance(interventions, Intervention):
        return (interventions,)
    if isinstance(interventions, list | tuple):
        return tuple(one for part in interventions for one in flat(part))
    raise LandedError(f"interventions= takes an Intervention or a list of them, not {shown(interventions)}.")


def checked(interventions: Any, config: ModelConfig, batch: int, length: int) -> tuple[Intervention, ...]:
    """The interventions for a model and prompts of ``[batch, length]``, places counted from 0.

    Raises:
        LandedError: for a hook point that the model does not have, places out of range (where they are known: not
            under ``jit``), or a value whose shape does not fit.
    """
    return checked_members([flat(interventions)], config, batch, length)[0]


def checked_members(
    members: Sequence[tuple[Intervention, ...]], config: ModelConfig, batch: int, length: int
) -> list[tuple[Intervention, ...]]:
    """`checked`, of many runs' interventions."""
    sizes = {**axis_sizes(config), "neuron": config.d_ff, "layer": config.n_layers, "batch": batch}
    sizes["slot"] = config.experts_per_token
    sizes |= {axis: length for axis in _COLUMNS}
    without = absent(config)
    return [tuple(_checked(one, without, sizes) for one in member) for member in members]


def _checked(one: Intervention, without: Mapping[HookPoint, str], sizes: Mapping[str, int]) -> Intervention:
    name = one.site.value
    if one.site in without:
        raise LandedError(f"This model has no {name} to intervene on: {without[one.site]}.")
    if "expert" in one.where and not sizes["expert"]:
        raise LandedError(f"This model has no experts: leave experts= out at {name}.")
    where = {axis: _counted(name, axis, places, sizes) for axis, places in one.where.items()}
    if one.value is not None:
        _check_value(one, {**sizes, "neuron": sizes["neuron"] * max(sizes["slot"], 1)})
    return Intervention(one.site, one.do, where, one.value)


def _counted(name: str, axis: str, places: Any, sizes: Mapping[str, int]) -> Any:
    """Places on an axis, from 0."""
    size = sizes[axis]
    if np.ndim(places) == 2 and places.shape[0] not in (1, sizes["batch"]):
        raise LandedError(f"The {axis}s of {name} are of {places.shape[0]} prompts, and there are {sizes['batch']}.")
    if not is_concrete(places):
        return jnp.where(places < 0, places + size, places)
    known = np.asarray(places)
    ends = (known.item(),) * 2 if known.size == 1 else (known.min(), known.max())  # many sweeps have one place each
    for end in ends:
        if not -size <= end < size:
            raise LandedError(f"There is no {axis.replace('_', ' ')} {end} of {name}: they run from 0 to {size - 1}.")
    return (known if ends[0] >= 0 else np.where(known < 0, known + size, known)).astype(np.int32)


def _check_value(one: Intervention, sizes: Mapping[str, int]) -> None:
    axes, shape = AXES[one.site], np.shape(one.value)
    wanted = [sizes[axis] for axis in axes]
    leading = () if one.site in OUTSIDE_LAYERS else (sizes["layer"],)
    inner = shape[1:] if len(shape) > len(axes) else shape
    fits = all(a in (1, b) for a, b in zip(inner[::-1], wanted[::-1], strict=False))
    if (
        not fits
        or len(inner) > len(axes)
        or (len(shape) > len(axes) and shape[:1] not in (leading, (1,) * len(leading)))
    ):
        names = ", ".join(axes)
        more = f", or {[*leading, *wanted]} with a layer axis," if leading else ""
        raise LandedError(
            f"The value for {one.site.value} has shape {list(shape)}, which does not broadcast to {wanted}{more} "
            f"[{names}]."
        )
