"""A sequence of rows that shows itself as a table."""

import dataclasses
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, overload

if TYPE_CHECKING:  # slow to import, and only what shows a table needs them
    import pandas

    from landed_jax.tables.table import Block

R = TypeVar("R")


class Rows(Sequence[R]):
    """Rows of one kind, in the order in which they are shown.

    A class of these names its row, a dataclass, and says in `blocks` how they are shown.
    """

    _row: ClassVar[type[Any]]

    def __init__(self, rows: Sequence[R]) -> None:
        self._rows = tuple(rows)

    @overload
    def __getitem__(self, index: int) -> R: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> "R | Self":
        return self._of(self._rows[index]) if isinstance(index, slice) else self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[R]:
        return iter(self._rows)

    def to_pandas(self) -> "pandas.DataFrame":
        """One line a row, with all its fields; what was not computed is missing (NA)."""
        import pandas as pd

        names = [field.name for field in dataclasses.fields(self._row)]
        rows: list[Any] = list(self._rows)
        return pd.DataFrame([dataclasses.asdict(row) for row in rows], columns=pd.Index(names)).convert_dtypes()

    def _of(self, rows: Sequence[R]) -> Self:
        """A table of some of the rows."""
        return type(self)(rows)

    @abstractmethod
    def blocks(self) -> "list[Block]":
        """As they are shown: each kind of table knows its columns."""

    def _repr_html_(self) -> str:
        from landed_jax.tables.html import html_of

        return html_of(self.blocks())

    def __repr__(self) -> str:
        from landed_jax.tables.draw import text_of
        from landed_jax.tables.screen import standard_output

        return text_of(self.blocks(), standard_output())
