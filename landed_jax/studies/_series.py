"""`series`: one study for each checkpoint of a training, with the checkpoints as an axis."""

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from landed_jax.errors import LandedError, listed
from landed_jax.files.kinds import expanded, is_folder, status_of
from landed_jax.manifest import differences
from landed_jax.plotted import Plotted
from landed_jax.studies._batches import known_of
from landed_jax.studies._checkpoints import (
    Checkpoints,
    check_alike,
    check_sizes,
    checkpoints_of,
    labels_of,
    order_of,
)
from landed_jax.studies._measured import Keep
from landed_jax.studies._reductions import Reduction, keep_of
from landed_jax.studies._sources import Source, source_of
from landed_jax.studies._store import Store
from landed_jax.studies._study import KEPT, Prompts, Study, opened, study
from landed_jax.tasks import Task

if TYPE_CHECKING:  # slow to import, and only what shows a series needs them
    import xarray

SeriesWatch = Callable[[str, int, int | None], None]
"""``watch(name, done, total)`` as each checkpoint is opened, with 0, and after every batch of its study."""

# What the manifests of one series' studies may differ in; `check_sizes` looks at the configs.
_OWN = ("model.source", "model.config", "model.weights", "model.notes", "command")


@dataclass(frozen=True, eq=False)
class Series(Plotted):
    """Studies of the same prompts by several checkpoints of one model.

    Attributes:
        studies: by the checkpoint's name, in the order of the axis.
    """

    studies: dict[str, Study]

    @property
    def checkpoints(self) -> list[int] | list[str]:
        """The labels of the axis: steps, where every name tells one and no two the same; otherwise the names."""
        return labels_of(list(self.studies))

    @functools.cached_property
    def rows(self) -> dict[str, np.ndarray]:
        """What is kept of every prompt, ``[checkpoint, prompt, …]``."""
        each = [one.rows for one in self.studies.values()]
        return {name: np.stack([rows[name] for rows in each]) for name in each[0]}

    def to_xarray(self) -> "xarray.Dataset":
        """Statistics and rows of all studies, with the axis ``checkpoint`` in front, and their names beside it."""
        import xarray as xr

        each = [one.to_xarray() for one in self.studies.values()]
        first = each[0]
        found = {
            str(name): (("checkpoint", *values.dims), np.stack([one[name].values for one in each]))
            for name, values in first.data_vars.items()
        }
        coordinates: dict[str, Any] = {str(name): values.variable for name, values in first.coords.items()}
        coordinates["checkpoint"] = ("checkpoint", np.array(self.checkpoints))
        coordinates["checkpoint_name"] = ("checkpoint", np.array(list(self.studies)))
        manifests = [one.manifest for one in self.studies.values()]
        attributes = {**first.attrs, "result": "Series", "manifest": json.dumps(manifests, ensure_ascii=False)}
        attributes["model"] = ", ".join(manifest["model"]["source"] for manifest in manifests)
        return xr.Dataset(found, coordinates, attributes)

    def __repr__(self) -> str:
        names = list(self.studies)
        ends = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
        return f"Series({len(names)} checkpoints, {ends}; the last: {self.studies[names[-1]]!r})"


def series(
    models: Checkpoints,
    prompts: Prompts,
    keep: Sequence[str | Keep | Reduction] = KEPT,
    out: str | Path | None = None,
    *,
    watch: SeriesWatch = lambda name, done, total: None,
    load_with: dict[str, Any] | None = None,
    **settings: Any,
) -> Series:
    """The same study by several checkpoints, one after another: of each, the weights alone are in memory.

    Checkpoints of equal configurations share their compiled programs. That all are there, of one size and of one
    vocabulary, is known before any weights are read.

    Args:
        models: a folder that holds the checkpoints' folders, such as ``DST/steps`` of ``landed testbed train``; or a
            sequence of what `load` opens (folders, ``owner/name@step1000``) or of models; or a mapping from names to
            these. Otherwise a folder's last part, or the revision, is the name.
        prompts, keep: as for `study`.
        out: a folder, in which each checkpoint has its study's store, called like it. Given again, it goes on where it
            was: of a checkpoint that is finished the weights are compared, and no prompt is run. More checkpoints may
            be added.
        watch: called as each checkpoint is opened, and after every batch.
        load_with: arguments of `load`, for all checkpoints.
        settings: what else `study` takes.

    Raises:
        LandedError: for checkpoints that are not there or not of one model, prompts that can be read only once, that
            change meanwhile or are not those of the studies in `out`, and what `study` refuses.

    >>> import landed_jax as landed
    >>> model = landed.load()
    >>> found = landed.studies.series({"step1": model, "step2": model}, "testbed:induction", ["attribution"], count=4)
    >>> found.checkpoints, found.rows["attribution.heads"].shape
    ([1, 2], (2, 4, 4, 8))
    """
    checkpoints = checkpoints_of(models)
    if not isinstance(prompts, str | Path | Task | Sequence):
        prompts = list(prompts)
    if str(prompts) == "-":
        raise LandedError("Standard input can be read once, and each checkpoint reads the prompts: name a file.")
    kept = [keep_of(one) if isinstance(one, str) else one for one in ([keep] if isinstance(keep, str) else keep)]
    names = ("column", "ids", "count", "seed")
    asked = functools.partial(source_of, prompts, **{name: settings[name] for name in names if name in settings})
    asked()  # what cannot be read is refused before models are read
    folder = None if out is None else _checked(expanded(out).absolute())
    config = check_alike(checkpoints)
    stores = {} if folder is None else _stores(folder)
    for name, store in stores.items():
        if all(name != checkpoint.name for checkpoint in checkpoints):  # of its own ones `study` says what is other
            check_sizes(name, store.config, checkpoints[0].name, config)
    # A new folder's first study says itself what it read.
    seen = _checked_prompts(asked(), stores) if stores or folder is None else []
    found: dict[str, Study] = {}
    for checkpoint in checkpoints:
        watch(checkpoint.name, 0, None)
        found[checkpoint.name] = study(
            checkpoint.open(**(load_with or {})),
            prompts,
            kept,
            None if folder is None else folder / checkpoint.name,
            watch=functools.partial(watch, checkpoint.name),
            **settings,
        )
        known = known_of(asked())[-1] if folder is None else Store.opened(folder / checkpoint.name).known()[0]
        seen.append(known)
        if known != seen[0]:
            raise LandedError(f"The prompts changed meanwhile: {checkpoint.name} read others than those before.")
    return Series(found)


def opened_series(folder: str | Path) -> Series:
    """The studies that a series' folder holds, in the order of their steps.

    Raises:
        LandedError: for what is no series, a damaged study, one that is not finished, and studies of different
            settings, of different prompts, or of models of different sizes.
    """
    place = expanded(folder).absolute()
    stores = _stores(place)
    if not stores:
        raise LandedError(f"There is no series of studies in {place}.")
    known: dict[str, tuple[int, str] | None] = {}
    for name, store in stores.items():
        known[name], finished = store.known()
        if not finished:
            raise LandedError(f"The study of {name} in {place} is not finished: give its command again.")
    first, *others = stores
    for name in others:
        check_sizes(first, stores[first].config, name, stores[name].config)
        if apart := differences(stores[first].manifest, stores[name].manifest, ignored=_OWN):
            raise LandedError(f"{place} holds studies of other settings, {first} and {name}: {listed(apart)}.")
        if known[first] != known[name]:
            raise LandedError(f"{place} holds studies of different prompts: those of {first} and {name}.")
    return Series({name: opened(place / name) for name in stores})


def _stores(folder: Path) -> dict[str, Store]:
    """The studies in a folder, by their names, in the order of their steps."""
    inside = [path for path in folder.iterdir() if _is_study(path)] if is_folder(folder) else []
    return {path.name: Store.opened(path) for path in sorted(inside, key=lambda path: order_of(path.name))}


def _checked_prompts(source: Source, stores: dict[str, Store]) -> list[tuple[int, str] | None]:
    """What is known of the prompts, as a list of one; refused where these studies have read others."""
    before = known_of(source)
    for store in stores.values():
        known, finished = store.known()
        if known not in (before[-1:] if finished else before):
            raise LandedError(f"{source.name} does not hold the prompts of the study in {store.folder}.")
    return before[-1:]


def _is_study(folder: Path) -> bool:
    return status_of(folder / "study.json") is not None


def _checked(folder: Path) -> Path:
    """Refuse a folder that is a study itself, and what is no folder."""
    if _is_study(folder):
        raise LandedError(f"{folder} holds the study of one model: name another folder for a series.")
    if status_of(folder) is not None and not is_folder(folder):
        raise LandedError(f"{folder} is there and is no folder: name another one.")
    return folder
