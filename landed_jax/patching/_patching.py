"""What patching one component at a time does to a measure, with the numbers of both prompts beside it."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from landed_jax.interventions._sweep import labels_of
from landed_jax.numerics import compute_dtype, left_broadcast
from landed_jax.results.result import Result, result
from landed_jax.tokens import Tokens

Direction = Literal["denoise", "noise"]


@result
class Patching(Result):
    """A measure after each of many patches, for each pair of prompts.

    The labelled axes that lead its arrays are ``hook_point, layer, column``; or ``layer, head``; or ``neuron``. Its
    `tokens` are the clean prompts; `at` the measured columns.

    Attributes:
        effect: patched value less that of the same run unpatched (`start`); of attribution patching the estimate of it.
        clean: the measure of the clean prompt.
        corrupted: of the corrupted one.
        corrupted_ids: the corrupted prompts' tokens.
        target, against: ids that the measure is about; None where it is about no token.
        direction: ``denoise``: clean values are put into the run of the corrupted prompt; ``noise``: corrupted ones
            into the run of the clean prompt.
        method: how the effect was found.
        labels: the axes and what is on them.
    """

    effect: Float[Array, "*component batch position"]
    clean: Float[Array, "batch position"]
    corrupted: Float[Array, "batch position"]
    corrupted_ids: Int[Array, "batch source"]
    target: Int[Array, "batch position"] | None = None
    against: Int[Array, "batch position"] | None = None
    direction: Direction = dataclasses.field(default="denoise", metadata={"static": True})
    method: str = dataclasses.field(default="activation patching", metadata={"static": True})
    labels: tuple[tuple[str, tuple[Any, ...]], ...] = dataclasses.field(default=(), metadata={"static": True})

    @property
    def start(self) -> Float[Array, "batch position"]:
        """The measure of the run that is patched, before it is."""
        return self.corrupted if self.direction == "denoise" else self.clean

    @property
    def value(self) -> Float[Array, "*component batch position"]:
        """The measure of the patched run: ``start + effect``."""
        return left_broadcast(self.start, self.effect) + self.effect

    @property
    def gap(self) -> Float[Array, "batch position"]:
        """``clean − corrupted``: what there is to recover."""
        return self.clean - self.corrupted

    @property
    def defined(self) -> Bool[Array, "batch position"]:
        """Where a fraction of the gap has a meaning: it is more than √ε of the larger of its two values.

        A smaller difference of two floats has lost half of its digits, and what is divided by it is rounding.
        """
        return _is_gap(self.gap, self._size)

    @property
    def fraction(self) -> Float[Array, "*component batch position"]:
        """The effect as a fraction of the gap, 0 where a patch does nothing: what is recovered, or in noising lost.

        Neither bounded nor a share of a sum: a patch may overshoot, and several may each bring back all. NaN where the
        two prompts have nearly the same value: see `defined`.
        """
        return _ratio(self.effect, *(left_broadcast(part, self.effect) for part in (self._to_other, self.defined)))

    @property
    def recovered(self) -> Float[Array, "*component batch position"]:
        """``(value − corrupted) / (clean − corrupted)``: 0 as the corrupted prompt, 1 as the clean; NaN likewise."""
        return self._as_recovered(self.fraction)

    @property
    def count(self) -> Int[Array, "*component position"]:
        """How many prompts the means are of: those with a token, and no padding, where is patched and measured."""
        return jnp.sum(self._counted, axis=-2)

    @property
    def mean_effect(self) -> Float[Array, "*component position"]:
        """The mean effect over prompts; NaN over none."""
        effect = jnp.sum(jnp.where(self._counted, self.effect, 0), axis=-2)
        return _ratio(effect, self.count, self.count > 0)

    @property
    def mean_fraction(self) -> Float[Array, "*component position"]:
        """The mean effect over the mean gap.

        Not the mean of the fractions, in which one prompt with a small gap would outweigh all others.
        """
        counted = self._counted

        def summed(values: jax.Array) -> jax.Array:
            return jnp.sum(jnp.where(counted, left_broadcast(values, counted), 0), axis=-2)

        gap = summed(self._to_other)
        return _ratio(summed(self.effect), gap, _is_gap(gap, summed(self._size)))

    @property
    def mean_recovered(self) -> Float[Array, "*component position"]:
        """The mean of ``value − corrupted`` over the mean of ``clean − corrupted``."""
        return self._as_recovered(self.mean_fraction)

    @property
    def corrupted_tokens(self) -> Tokens:
        """The corrupted prompts: `tokens` are the clean ones."""
        return Tokens(self.corrupted_ids, self.tokens.mask)

    @property
    def _to_other(self) -> jax.Array:
        return self.gap if self.direction == "denoise" else -self.gap

    @property
    def _size(self) -> jax.Array:
        return jnp.maximum(jnp.abs(self.clean), jnp.abs(self.corrupted))

    def _as_recovered(self, fraction: jax.Array) -> jax.Array:
        return fraction if self.direction == "denoise" else 1 - fraction

    @property
    def _counted(self) -> jax.Array:
        """``[*component, batch, position]``"""
        real = left_broadcast(self.known.real, self.effect)
        names = [name for name, _ in self.labels]
        if "column" in names:
            axis = names.index("column")
            mask = self.tokens.mask[:, np.array(self.labels[axis][1])].T
            shape = [1] * self.effect.ndim
            shape[axis], shape[-2] = mask.shape
            real = real & mask.reshape(shape)
        return jnp.broadcast_to(real, self.effect.shape)

    def __getattr__(self, name: str) -> tuple[Any, ...]:
        """The labels of an axis, by its name and an s: ``hook_points``, ``columns``."""
        return labels_of(self, name)

    def to_xarray(self, *, axes: Sequence[str] | None = None, derived: bool = False) -> Any:
        """The result with named axes; see `landed_jax.results.dataset.to_xarray`.

        With a vocabulary, ``source_corrupted_token`` stands beside ``source_token``, the clean prompts' texts.
        """
        from landed_jax.printable import printable

        found = super().to_xarray(axes=[name for name, _ in self.labels] if axes is None else axes, derived=derived)
        if self.vocabulary is None:
            return found
        ids = np.asarray(self.corrupted_ids)
        text = {token: printable(self.vocabulary.text(token)) for token in np.unique(ids).tolist()}
        rows = np.where(self.tokens.mask, np.array([[text[token] for token in row] for row in ids.tolist()]), "")
        return found.assign_coords(source_corrupted_token=(("batch", "source"), rows))


def _is_gap(gap: jax.Array, size: jax.Array) -> jax.Array:
    gap, size = _as_floats(gap), _as_floats(size)
    return jnp.abs(gap) > jnp.finfo(gap.dtype).eps ** 0.5 * size


def _ratio(above: jax.Array, below: jax.Array, where: jax.Array) -> jax.Array:
    """NaN where it is not defined."""
    above, below = _as_floats(above), _as_floats(below)
    return jnp.where(where, above / jnp.where(where, below.astype(above.dtype), 1), jnp.nan)


def _as_floats(values: jax.Array) -> jax.Array:
    """Ranks and counts are whole numbers."""
    return values if jnp.issubdtype(values.dtype, jnp.floating) else values.astype(compute_dtype())
