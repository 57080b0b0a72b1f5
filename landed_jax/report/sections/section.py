"""What a section of `landed run` is: one value that its option, its JSON, its table and its variables are made from."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from landed_jax.nn.hook_points import HookPoint

if TYPE_CHECKING:  # slow to import; the command line's help needs none of them
    from landed_jax.analysis.reads._read import Read
    from landed_jax.report.account import Account
    from landed_jax.tables.table import Table
    from landed_jax.trace import Trace


class Asked(NamedTuple):
    """What a run accounts for, as a section's mathematics gets it, inside ``jit``.

    Attributes:
        trace: of one position, with all that the run's sections record.
        question: the logit, or the logit difference, resolved; its `target` and `against` are ids ``[batch,
            position]``.
        difference: the logit difference, resolved: that of the run, or the one to the likeliest other token; None where
            there is no other token.
    """

    trace: "Trace"
    question: "Read"
    difference: "Read | None"


@dataclass(frozen=True, eq=False)  # equal only to itself, so that it can be a key and a static argument of `jit`
class Section:
    """Something that `landed run` finds out when its option is given.

    The results are a dictionary from names to what analyses return, or to plain arrays, whose axes `axes` names.

    Attributes:
        name: a Python name. The option is the name with dashes, and the variables of the data set begin with it.
        help: the option's sentence in `landed run --help`.
        compute: the results. A pure function: all sections of a run are compiled into one program.
        json_field: the field of the JSON object.
        document: what that field holds, from the account and the results (as NumPy arrays, of the run's one position,
            without padding): plain values that JSON has.
        table: the tables for people, from the account, the results and the document.
        record: the hook points that `compute` needs beside those that every run records.
        axes: for each plain array of the results, the names of its axes as one string, ``"layer batch position"``.
        coordinates: for the data set, the values along axes that the results themselves give no values.
        derived: names of those results whose properties (sums and ratios of what they hold) are variables too.
        place: sections come in the order of their places, and of their names within one place.
    """

    name: str
    help: str
    compute: Callable[[Asked], dict[str, Any]]
    json_field: str
    document: Callable[["Account", dict[str, Any]], Any]
    table: Callable[["Account", dict[str, Any], Any], Sequence["Table"]]
    record: frozenset[HookPoint] = frozenset()
    axes: Mapping[str, str] = field(default_factory=dict)
    coordinates: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    derived: Collection[str] = ()
    place: int = 100

    @property
    def option(self) -> str:
        """``--by-source`` for ``by_source``."""
        return "--" + self.name.replace("_", "-")
