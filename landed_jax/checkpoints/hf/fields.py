"""Typed reading of a JSON object's fields; it records which fields were read, and collects problems."""

from collections.abc import Mapping
from typing import Any

from landed_jax.errors import shown
from landed_jax.nn.values import LARGEST_FLOAT32, is_positive_float32

_MISSING: Any = object()
NONE: Mapping[str, str | None] = {}


class Fields:
    """Typed access to the fields of one JSON object.

    Args:
        values: the object.
        problems: the list that refusals are appended to; several objects may share it.
        where: a prefix for field names in refusals, such as ``rope_scaling.``.
        spelling: the object's own names of fields that are asked for under others; None for fields that it has not,
            which are then unread if they are there.

    >>> fields = Fields({"size": "8"}, problems := [])
    >>> fields.whole("size", 4), problems
    (4, ["size = '8' (not a positive whole number)"])
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        problems: list[str],
        where: str = "",
        spelling: Mapping[str, str | None] = NONE,
    ) -> None:
        asked = {own: name for name, own in spelling.items() if own is not None}
        # Some releases of a class save a field under both names.
        values = {
            own: value
            for own, value in values.items()
            if own in asked or (named := spelling.get(own)) is None or values.get(named, _MISSING) != value
        }
        self.spelling, self._foreign = spelling, [own for own in values if own in spelling and own not in asked]
        self.values = {asked.get(own, own): value for own, value in values.items() if own not in self._foreign}
        self.problems = problems
        self.where = where
        self.read: set[str] = set()
        self.ill_typed = False

    def take(self, name: str, default: Any = None) -> Any:
        """A field's value, unchecked."""
        if self.spelling.get(name, name) is not None:
            self.read.add(self.named(name))
        return self.values.get(name, default)

    def refuse(self, name: str, why: str) -> None:
        self.read.add(self.named(name))
        self.problems.append(f"{self.where}{self.named(name)} = {shown(self.values.get(name))} ({why})")

    def whole(self, name: str, default: int) -> int:
        """A positive whole number below 2³¹, as the size of an axis."""
        value = self.take(name, default)
        if type(value) is not int or value < 1:
            return self._wrong(name, "a positive whole number", default)
        return value if value < 2**31 else self._wrong(name, "below 2**31", default)

    def number(self, name: str, default: float) -> float:
        """A number that is finite in float32."""
        value = self.take(name, default)
        if type(value) not in (int, float):
            return self._wrong(name, "a number", default)
        return float(value) if abs(value) <= LARGEST_FLOAT32 else self._wrong(name, "finite in float32", default)

    def positive(self, name: str, default: float = _MISSING) -> float:
        """A number above 0, also in float32; required if there is no default."""
        if name not in self.values and default is _MISSING:
            return self._wrong(name, "there, and is needed", 1.0)
        fallback = 1.0 if default is _MISSING else default
        value = self.number(name, fallback)
        if value == fallback or is_positive_float32(value):
            return value
        return self._wrong(name, "above 0" if value <= 0 else "above 0 in float32", fallback)

    def flag(self, name: str, default: bool) -> bool:
        value = self.take(name, default)
        return value if isinstance(value, bool) else self._wrong(name, "true or false", default)

    def unread(self) -> list[str]:
        """The object's own names of the fields that were not read."""
        return [own for own in (*map(self.named, self.values), *self._foreign) if own not in self.read]

    def named(self, name: str) -> str:
        """The object's own name of a field."""
        return self.spelling.get(name) or name

    def _wrong(self, name: str, wanted: str, default: Any) -> Any:
        self.ill_typed = True
        self.refuse(name, f"not {wanted}")
        return default
