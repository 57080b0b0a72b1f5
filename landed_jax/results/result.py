"""What every analysis returns: arrays with named axes that know which prompts, positions and model they are of."""

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform

import jax
from jaxtyping import Array, Int

from landed_jax.errors import LandedError
from landed_jax.nn.config import ModelConfig
from landed_jax.plotted import Plotted
from landed_jax.processes import by_first, spans_processes
from landed_jax.provenance import Provenance
from landed_jax.shapes import ShapeRepr, array_texts
from landed_jax.tokens import Tokens
from landed_jax.vocabulary import Vocabulary

if TYPE_CHECKING:  # slow to import, and only these methods need them
    import pandas
    import xarray

C = TypeVar("C")


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def result(cls: type[C]) -> type[C]:
    """A class decorator: a frozen dataclass, a JAX pytree, with a repr of shapes."""
    return jax.tree_util.register_dataclass(dataclass(frozen=True, repr=False)(cls))


@result
class Result(ShapeRepr, Plotted):
    """The base of every result.

    Attributes:
        provenance: the prompts, positions and model, which a part of another result shares; None for a result made by
            hand.

    >>> import jax.numpy as jnp
    >>> from landed_jax.analysis.basis._coordinates import Coordinates
    >>> Coordinates(jnp.zeros((1, 1, 2)), jnp.zeros((1, 1)))
    Coordinates(contributions f32[1,1,2], value f32[1,1])
    """

    provenance: Provenance | None = dataclasses.field(default=None, kw_only=True, repr=False)

    @property
    def known(self) -> Provenance:
        """The provenance.

        Raises:
            LandedError: for a result without.
        """
        if self.provenance is None:
            raise LandedError(f"This {type(self).__name__} does not know its prompts: only an analysis gives them.")
        return self.provenance

    @property
    def tokens(self) -> Tokens:
        """The prompts."""
        return self.known.tokens

    @property
    def at(self) -> Int[Array, " position"]:
        """The columns of the tokens that were recorded."""
        return self.known.at

    @property
    def config(self) -> ModelConfig:
        """The model's architecture."""
        return self.known.config

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The tokenizer's view of ids."""
        return self.known.vocabulary

    def to_xarray(self, *, axes: Sequence[str] | None = None, derived: bool = False) -> "xarray.Dataset":
        """The result with named axes; see `landed_jax.results.dataset.to_xarray`.

        Under `jax.distributed` all processes call it for a result of which others hold parts; likewise `to_pandas`.
        """
        from landed_jax.results.dataset import to_xarray

        return to_xarray(self, axes=axes, derived=derived)

    def to_pandas(
        self, *, axes: Sequence[str] | None = None, variables: Sequence[str] | None = None, derived: bool = False
    ) -> "pandas.DataFrame":
        """The result in long form, one row an element; see `landed_jax.results.table.to_table`."""
        from landed_jax.results.table import to_table

        return to_table(self, axes=axes, variables=variables, derived=derived)

    def save(self, path: str | os.PathLike[str], *, axes: Sequence[str] | None = None, derived: bool = False) -> None:
        """Write the labelled result to one NetCDF file, ``.nc``; `landed_jax.load_result` reads it.

        Args:
            axes, derived: as for `to_xarray`.

        Under `jax.distributed` all processes call it for a result of which others hold parts, and the first one writes.

        Raises:
            LandedError: for a path that cannot be written, or values under ``jit`` or ``vmap``.
        """
        from landed_jax.results.files import save_result

        labelled = self.to_xarray(axes=axes, derived=derived)
        if spans_processes(self):
            by_first(lambda: save_result(labelled, path))
        else:
            save_result(labelled, path)

    def __repr__(self) -> str:
        where = "" if self.provenance is None else f"{self.provenance.summary()}; "
        return f"{type(self).__name__}({where}{', '.join(array_texts(self))})"


def with_provenance(found: Any, provenance: Provenance) -> Any:
    """A result that knows where it comes from, its parts too; what is no result, or knows already, stays as it is."""
    if not isinstance(found, Result) or found.provenance is not None:
        return found
    own = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
    parts = {name: with_provenance(part, provenance) for name, part in own.items() if isinstance(part, Result)}
    return dataclasses.replace(found, **parts, provenance=provenance)
