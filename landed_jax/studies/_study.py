"""`study`: a model and prompts in, statistics and rows out, in memory or in a folder that survives being killed."""

import functools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from landed_jax.errors import LandedError
from landed_jax.exchange import exchange
from landed_jax.files.kinds import expanded
from landed_jax.manifest import manifest_of
from landed_jax.model import Model
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.hook_points import WRITES, HookPoint
from landed_jax.plotted import Plotted
from landed_jax.studies._batches import Reader
from landed_jax.studies._labels import coordinates_of, statistic_arrays
from landed_jax.studies._measured import Keep
from landed_jax.studies._progress import Progress
from landed_jax.studies._reductions import Reduction, keep_of
from landed_jax.studies._runs import BatchNumbers, Run, Variable
from landed_jax.studies._shares import Shares
from landed_jax.studies._sources import STANDARD_INPUT, source_of
from landed_jax.studies._statistic import Statistic
from landed_jax.studies._store import Store
from landed_jax.tasks import Task

if TYPE_CHECKING:  # slow to import, and only what shows a study needs them
    import xarray

KEPT = ("scale", "attribution")
Watch = Callable[[int, int | None], None]
"""``watch(done, total)`` after every batch, in prompts; the total is None where it is not known."""
Prompts = str | Path | Task | Iterable[Any]


@dataclass(frozen=True, eq=False)
class Study(Plotted):
    """What was found out of many prompts.

    Attributes:
        manifest: what made it.
        statistics: by variable, such as ``attribution.heads``.
        prompts: how many there were, those without numbers too.
        without_numbers: how many have none, by the reason.
        folder: its store; None for a study in memory.
    """

    manifest: dict[str, Any]
    statistics: dict[str, Statistic]
    prompts: int
    without_numbers: dict[str, int]
    folder: Path | None
    _variables: dict[str, Variable]
    _windows: list[dict[str, np.ndarray]]
    _reasons: list[str]

    @functools.cached_property
    def rows(self) -> dict[str, np.ndarray]:
        """What is kept of every prompt, in the prompts' order: ``prompt`` (its number), ``reason``, ``tokens``, …"""
        if self.folder is not None:
            store = Store.opened(self.folder)
            store.load()
            found = store.rows()
        else:
            names = self._windows[0] if self._windows else ()
            found = {name: np.concatenate([window[name] for window in self._windows]) for name in names}
        order = np.argsort(found["prompt"]) if found else ()
        return {name: values[order] for name, values in found.items()}

    @property
    def reasons(self) -> list[str]:
        """Why a prompt has no numbers, by the numbers in ``rows["reason"]``."""
        return self._reasons

    @property
    def config(self) -> ModelConfig:
        """The model's architecture."""
        return ModelConfig.from_dict(json.loads(self.manifest["model"]["config"]))

    def to_xarray(self) -> "xarray.Dataset":
        """Statistics and rows with named axes."""
        import xarray as xr

        found = dict(statistic_arrays(self.statistics))
        for name, values in self.rows.items():
            axes = self._variables[name].kind.axes if name in self._variables else ()
            found[name] = (("prompt", *axes), values)
        coordinates = coordinates_of(self.config, list(found.values()))
        coordinates |= {name: found.pop(name) for name in ("prompt",) if name in found}
        attributes = {
            "result": "Study",
            "model": self.manifest["model"]["source"],
            "config": self.manifest["model"]["config"],
            "notes": json.dumps(self.manifest["model"]["notes"]),
            "manifest": json.dumps(self.manifest, ensure_ascii=False),
            "reasons": json.dumps(self.reasons),
        }
        return xr.Dataset(found, coordinates, attributes)

    def __repr__(self) -> str:
        missing = sum(self.without_numbers.values())
        where = "in memory" if self.folder is None else f"in {self.folder}"
        kept = ", ".join(self.manifest["keep"])
        counted = f"{self.prompts:,} prompts, {missing:,} without numbers"
        return f"Study({self.manifest['model']['source']}: {counted}; {kept}; {where})"


def study(
    model: Model,
    prompts: Prompts,
    keep: Sequence[str | Keep | Reduction] = KEPT,
    out: str | Path | None = None,
    *,
    column: str | None = None,
    ids: bool = False,
    count: int = 1000,
    seed: int = 0,
    position: int = -1,
    record: Iterable[HookPoint] = WRITES,
    add_special_tokens: bool = True,
    dtype: Any = None,
    watch: Watch = lambda done, total: None,
    command: str = "",
) -> Study:
    """What is kept of every prompt, as statistics over all of them and as rows.

    Prompts run in batches, sorted by length within a window and padded on the left; each one's numbers are those that
    it has alone, to the rounding of float sums. A prompt without numbers is counted with its reason.

    Args:
        prompts: a file's path (a prompt a line, JSON lines, CSV, Parquet), ``-``, ``task:NAME``, ``testbed:NAME``,
            ``hf:NAME``, a `Task`, or any number of texts, lists of ids and a task's `Prompt`.
        keep: names (`landed.studies.keeps`), or functions of the bound trace of a batch, all columns, padded on the
            left, to a `Result` or to arrays by name, whose first axis is the prompts'; ``(axes, array)`` names the
            others. A function is traced once a shape.
        out: a folder for the study. Where it holds the same study unfinished, that is gone on with, and ends equal to
            the bit. Without it rows are held in memory.
        column: of a CSV or Parquet file.
        ids: whether prompts are written as token ids.
        count, seed: of a task's prompts.
        position: the asked column, from the end: the last token's by default.
        record: what the trace of a function holds.
        add_special_tokens: as for `Vocabulary.encode`.
        dtype: float32 or float64; by default JAX's default float.
        watch: called after every batch.
        command: what the manifest says was asked.

    Under `jax.distributed` all processes call it, each computes a share of the batches, and each returns the study;
    the first one alone writes `out` and calls `watch`. Of a model on a mesh of several processes' devices all compute
    each batch together.

    Raises:
        LandedError: for prompts that cannot be read at all, a name that there is not, a folder that holds something
            else or is being written, and a disk that is full.

    >>> import landed_jax as landed
    >>> found = landed.study(landed.load(), ["The Colosseum is in the city of", ""], keep=["attribution"])
    >>> found.without_numbers, found.statistics["attribution.heads"].moments.mean.shape
    ({'empty': 1}, (4, 8))
    """
    prepared = functools.partial(
        _prepared, model, prompts, keep, column, ids, count, seed, position, record, add_special_tokens, dtype, command
    )
    if jax.process_count() > 1:
        return _by_all(prepared, out, watch)
    run, manifest = prepared()
    if out is None:
        progress = Progress.begun(run.variables, len(run.reasons))
        _collect(run, progress, lambda: None, watch)
        return _study_of(manifest, progress, run.variables, run.reasons, None)
    with Store.writing(expanded(out), manifest, run.variables, run.reasons) as (store, progress, finished):
        _collect(run, progress, lambda: store.offer(progress), watch)
        if not finished:
            store.commit(progress, finished=True)
        return _study_of(store.manifest, progress, run.variables, run.reasons, store.folder)


def batches(
    model: Model,
    prompts: Prompts,
    keep: Sequence[str | Keep | Reduction] = KEPT,
    *,
    column: str | None = None,
    ids: bool = False,
    count: int = 1000,
    seed: int = 0,
    position: int = -1,
    record: Iterable[HookPoint] = WRITES,
    add_special_tokens: bool = True,
    dtype: Any = None,
) -> Iterator[BatchNumbers]:
    """The numbers of one batch after another, as `study` accumulates them; arguments and errors are `study`'s.

    >>> import landed_jax as landed
    >>> [found] = landed.studies.batches(landed.load(), "testbed:induction", ["attribution"], count=5)
    >>> sorted(found.prompts.tolist()), found.rows["attribution.heads"].shape
    ([0, 1, 2, 3, 4], (5, 4, 8))
    """
    run, _ = _prepared(model, prompts, keep, column, ids, count, seed, position, record, add_special_tokens, dtype, "")
    yield from run.numbers()


def opened(folder: str | Path) -> Study:
    """The study in a folder, as far as it is.

    Raises:
        LandedError: for what is no study, and a damaged one.
    """
    store = Store.opened(expanded(folder).absolute())
    progress, _ = store.load()
    return _study_of(store.manifest, progress, store.variables, store.reasons, store.folder)


def _prepared(
    model: Model,
    prompts: Prompts,
    keep: Sequence[str | Keep | Reduction],
    column: str | None,
    ids: bool,
    count: int,
    seed: int,
    position: int,
    record: Iterable[HookPoint],
    add_special_tokens: bool,
    dtype: Any,
    command: str,
) -> tuple[Run, dict[str, Any]]:
    source = source_of(prompts, column=column, ids=ids, count=count, seed=seed)
    recorded = frozenset(HookPoint(point) for point in record)
    kept = [keep_of(one, recorded) for one in ([keep] if isinstance(keep, str) else keep)]
    reader = Reader(model, source, position=position, add_special_tokens=add_special_tokens)
    run = Run(model, reader, kept, dtype)
    manifest = manifest_of(
        model,
        prompts={"source": source.name, "column": column, "ids": ids, "count": count, "seed": seed},
        keep=[one.name for one in kept],
        position=position,
        special_tokens=add_special_tokens,
        dtype=run.dtype,
        command=command,
    )
    return run, manifest


def _by_all(prepared: Callable[[], tuple[Run, dict[str, Any]]], out: str | Path | None, watch: Watch) -> Study:
    """`study` by all processes of a program: the first one has the store."""
    with exchange("study") as messages, ExitStack() as held:
        run, manifest = prepared()
        if run.reader.source.name == STANDARD_INPUT:
            raise LandedError("Each process reads the prompts, and standard input is one's: name a file that all read.")
        shares, stores = Shares(messages, run, manifest), list[tuple[Store, bool]]()

        def opened() -> Progress:
            if out is None:
                return Progress.begun(run.variables, len(run.reasons))
            store, progress, finished = held.enter_context(
                Store.writing(expanded(out), manifest, run.variables, run.reasons)
            )
            stores.append((store, finished))
            return progress

        progress, total = shares.begin(opened), run.reader.source.count
        for numbers in shares.numbers(progress):
            progress.take(numbers)
            for store, _ in stores:
                store.offer(progress)
            if out is not None and not stores:
                progress.windows = []  # the first process stores them
            watch(progress.prompts, total)

        def finish() -> None:
            for store, finished in stores:
                if not finished:
                    store.commit(progress, finished=True)

        progress = shares.end(progress, finish)
        manifest = stores[0][0].manifest if stores else manifest
        folder = None if out is None else expanded(out).absolute()
        return _study_of(manifest, progress, run.variables, run.reasons, folder)


def _collect(run: Run, progress: Progress, offer: Callable[[], None], watch: Watch) -> None:
    total = run.reader.source.count
    for numbers in run.numbers(progress.batches, progress.known):
        progress.take(numbers)
        offer()
        watch(progress.prompts, total)


def _study_of(
    manifest: dict[str, Any],
    progress: Progress,
    variables: Mapping[str, Variable],
    reasons: list[str],
    folder: Path | None,
) -> Study:
    missing = progress.without_numbers(reasons)
    digest = progress.known[1] if progress.known else ""  # known once the prompts are read
    manifest = {**manifest, "prompts": {**manifest["prompts"], "digest": digest}}
    windows = [] if folder is not None else progress.windows
    return Study(manifest, progress.statistics, progress.prompts, missing, folder, dict(variables), windows, reasons)
