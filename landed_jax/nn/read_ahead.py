"""Programs whose weights are on disk: one layer's weights are read while the layer before computes.

Weights of at most two steps are in memory at a time. Steps that need the same weights stand together wherever their
order is free, so that several passes over the layers share each read.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal, NamedTuple

import jax

from landed_jax.nn.table_rows import rows_on_disk
from landed_jax.nn.weights_on_disk import WeightOnDisk


class Step(NamedTuple):
    """One piece of a program: a compiled function, from variables to variables.

    Attributes:
        frees: variables that are not read again after it.
        kind: `rows` takes rows of a table, the variables being the table and the rows' numbers; a `branch` reads
            weights for itself.
    """

    function: Callable[..., Sequence[Any]]
    reads: tuple[Any, ...]
    writes: tuple[Any, ...]
    frees: tuple[Any, ...]
    kind: Literal["program", "rows", "branch"] = "program"

    def weights(self, on_disk: frozenset[Any]) -> frozenset[Any]:
        """The variables that have to be read before it."""
        return on_disk.intersection(self.reads) if self.kind == "program" else frozenset()


def in_order_of_weights(steps: Sequence[Step], on_disk: frozenset[Any]) -> list[Step]:
    """The steps in an order in which those that need the same weights stand together, as far as they can."""
    left, done, held = list(steps), [], frozenset()
    while left:
        to_come = {v for step in left for v in step.writes}
        ready = [step for step in left if to_come.isdisjoint(step.reads)]
        needs = [step.weights(on_disk) for step in ready]
        at = next((i for i, need in enumerate(needs) if need <= held), None)
        if at is None:
            at = next((i for i, need in enumerate(needs) if need & held), 0)
            held = needs[at] | held if needs[at] & held else needs[at]
        done.append(ready[at])
        left.remove(ready[at])
    return done


def run_with_weights_on_disk(steps: Sequence[Step], known: dict[Any, Any], on_disk: frozenset[Any]) -> None:
    """Run the steps on the values that are `known`, and add theirs."""
    needs = [step.weights(on_disk) for step in steps]
    reading: dict[Any, Future[jax.Array]] = {}
    with ThreadPoolExecutor(1, "landed-weights") as reader:

        def read(variables: frozenset[Any], step: Step) -> None:
            for v in step.reads:  # in their order, which is that of the files
                if v in variables and v not in reading:
                    reading[v] = reader.submit(known[v].read)

        for i, (step, need) in enumerate(zip(steps, needs, strict=True)):
            if step.kind == "rows" and isinstance(known[step.reads[0]], WeightOnDisk):
                found = [rows_on_disk(*(known[v] for v in step.reads))]
            elif need:
                read(need, step)
                values = [reading[v].result() if v in need else known[v] for v in step.reads]
                ahead = next((j for j in range(i + 1, len(steps)) if not needs[j] <= reading.keys()), len(steps) - 1)
                read(needs[ahead], steps[ahead])
                found = jax.block_until_ready(step.function(*values))  # before more is read
                del values
                wanted = frozenset[Any]().union(*needs[i + 1 : ahead + 1])
                for v in reading.keys() - wanted:
                    del reading[v]
            else:
                found = step.function(*(known[v] for v in step.reads))
            known.update(zip(step.writes, found, strict=True))
            for variable in step.frees:
                known.pop(variable, None)
