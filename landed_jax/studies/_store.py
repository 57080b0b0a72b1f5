"""A study in a folder: rows as chunks of a Zarr group, and a state that is replaced at once.

The order of writing is what makes it durable. Chunks of whole windows come first; they depend on the prompts alone, so
that writing one again changes nothing. Then the state, under a new name; then ``progress.json``, which names it, is
replaced atomically; then the old state goes. Whenever the process ends, ``progress.json`` names a whole state, and all
chunks before it are there.
"""

import dataclasses
import json
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from landed_jax.errors import LandedError, listed
from landed_jax.files.atomic_file import remove_abandoned, sync_files, write_file
from landed_jax.files.atomic_folder import sole_writer
from landed_jax.files.checksums import sealed, unsealed
from landed_jax.files.json_object import read_json_object
from landed_jax.files.kinds import is_folder, status_of
from landed_jax.manifest import differences
from landed_jax.nn.config import ModelConfig
from landed_jax.studies._batches import WINDOW
from landed_jax.studies._labels import coordinates_of, statistic_arrays
from landed_jax.studies._measured import Kind
from landed_jax.studies._progress import OWN_ROWS, Progress, row_names
from landed_jax.studies._runs import Variable
from landed_jax.studies._zarr import array_metadata, read_array, write_array, write_chunk, write_group, write_metadata

FORMAT = 1
SECONDS = 1.0
"""Between two commits at least: more would spend the time on the disk."""
_SHARE = 20  # a commit that took so long is worth so many times as long in computing


class Store:
    """An open study's folder, which no other process writes.

    Attributes:
        manifest: what made it.
        variables: what it holds.
        reasons: why a prompt has no numbers, by number.
    """

    def __init__(
        self, folder: Path, manifest: Mapping[str, Any], variables: Mapping[str, Variable], reasons: list[str]
    ) -> None:
        self.folder, self.manifest, self.variables, self.reasons = folder, dict(manifest), dict(variables), reasons
        self._last, self._took = time.monotonic(), 0.0
        self._state = ""
        self._windows = 0
        self._rows = 0

    @classmethod
    @contextmanager
    def writing(
        cls, folder: Path, manifest: Mapping[str, Any], variables: Mapping[str, Variable], reasons: list[str]
    ) -> Iterator["tuple[Store, Progress, bool]"]:
        """The store, new or gone on with, how far it is, and whether it is finished.

        Raises:
            LandedError: where another process writes it, it is no study, or it is one of other settings.
        """
        folder = Path(folder).absolute()
        with sole_writer(folder):
            store = cls(folder, manifest, variables, reasons)
            if _is_new(folder):
                folder.mkdir(exist_ok=True)
                remove_abandoned(folder)
                write_file(folder / "study.json", _json(sealed(store._description())))
                yield store, Progress.begun(variables, len(reasons)), False
                return
            other = cls.opened(folder)
            apart = differences(manifest, other.manifest, ignored=("command",))
            if not apart and other.variables != store.variables:  # of an older version, or another reduction
                apart = ["what is kept has other shapes"]
            if apart:
                raise LandedError(f"{folder} holds a study of other settings: {listed(apart)}. Name another folder.")
            progress, finished = store.load()
            store._clean()
            yield store, progress, finished

    @classmethod
    def opened(cls, folder: Path) -> "Store":
        """A store for reading.

        Raises:
            LandedError: for what is no study, and a damaged one.
        """
        if status_of(folder / "study.json") is None:
            raise LandedError(f"There is no study in {folder}.")
        described = read_json_object(folder / "study.json")
        if not unsealed(described) or described.get("format") != FORMAT:
            raise LandedError(f"{folder / 'study.json'} is damaged, or of another version of this program.")
        variables = {
            name: Variable(
                _kind(of["kind"]),
                tuple(of["shape"]),
                np.dtype(of["dtype"]),
            )
            for name, of in described["variables"].items()
        }
        return cls(folder, described["manifest"], variables, described["reasons"])

    @property
    def config(self) -> ModelConfig:
        """The model's architecture."""
        return ModelConfig.from_dict(json.loads(self.manifest["model"]["config"]))

    def known(self) -> tuple[tuple[int, str] | None, bool]:
        """How many prompts were read, with their digest, and whether it is finished; while it is written, too.

        Raises:
            LandedError: for a damaged store.
        """
        said = self._said()
        return (None, False) if said is None else (_known(said), said["finished"])

    def _said(self) -> dict[str, Any] | None:
        """The content of ``progress.json``; None before there is one."""
        path = self.folder / "progress.json"
        if status_of(path) is None:
            return None
        said = read_json_object(path)
        if not unsealed(said):
            raise LandedError(f"{self.folder} is damaged: {path.name} is not as it was written.")
        return said

    def load(self) -> tuple[Progress, bool]:
        """How far the study is, and whether it is finished.

        Raises:
            LandedError: for a damaged store.
        """
        said = self._said()
        if said is None:
            return Progress.begun(self.variables, len(self.reasons)), False
        state = self.folder / said["state"]
        data = state.read_bytes() if status_of(state) is not None else b""
        if zlib.crc32(data) != said["crc32"] or not data:
            raise LandedError(f"{self.folder} is damaged: progress.json and the state that it names do not agree.")
        self._state, self._windows, self._rows = said["state"], said["windows"], said["rows"]
        return Progress.restored(data, self.variables, said["batches"], _known(said)), said["finished"]

    def rows(self) -> dict[str, np.ndarray]:
        """The rows of whole windows, by name; call `load` before."""
        found = {}
        for name in row_names(self.variables):
            found[name] = read_array(self.folder / name, self._row_metadata(name))
        return found

    def offer(self, progress: Progress) -> None:
        """Commit, if it is time."""
        if time.monotonic() - self._last >= max(SECONDS, _SHARE * self._took):
            self.commit(progress)

    def commit(self, progress: Progress, *, finished: bool = False) -> None:
        """Make everything durable that is done.

        Raises:
            LandedError: where it cannot be written; what was durable before stays so.
        """
        started = time.monotonic()
        windows, progress.windows = progress.windows, []
        written: list[Path] = []
        for rows in windows:
            for name, values in rows.items():
                written.append(write_chunk(self.folder / name, _filled(values), self._windows))
            self._windows += 1
            self._rows += len(rows["prompt"])
        if windows or finished:
            sync_files(written + self._write_zarr(progress, finished))
        state = f"state-{progress.batches:08}.npz"
        data = progress.state()
        write_file(self.folder / state, data)
        said = {
            "batches": progress.batches,
            "windows": self._windows,
            "rows": self._rows,
            "known": progress.known,
            "state": state,
            "crc32": zlib.crc32(data),
            "finished": finished,
        }
        write_file(self.folder / "progress.json", _json(sealed(json.loads(json.dumps(said)))))
        self._state = state
        self._clean()
        self._last = time.monotonic()
        self._took = self._last - started

    def _clean(self) -> None:
        """Remove states that are no longer named, and files that a killed process left."""
        remove_abandoned(self.folder)
        for path in self.folder.glob("state-*.npz"):
            if path.name != self._state:
                path.unlink(missing_ok=True)
        for name in row_names(self.variables):
            for inside in (self.folder / name).rglob("c*/"):
                remove_abandoned(inside)
            remove_abandoned(self.folder / name)

    def _write_zarr(self, progress: Progress, finished: bool) -> list[Path]:
        arrays = {name: self._row_metadata(name) for name in row_names(self.variables)}
        written = [write_metadata(self.folder / name, metadata) for name, metadata in arrays.items()]
        if finished:
            labelled = statistic_arrays(progress.statistics)
            labelled |= coordinates_of(self.config, [*labelled.values(), *self._row_labels()])
            for name, (dims, values) in labelled.items():
                arrays[name], files = write_array(self.folder / name, values, dims)
                written += files
        return [*written, write_group(self.folder, self._attributes(progress, finished), arrays)]

    def _row_labels(self) -> list[tuple[tuple[str, ...], np.ndarray]]:
        return [
            (self.variables[name].kind.axes, np.empty(self.variables[name].shape, bool))
            for name in row_names(self.variables)
            if name in self.variables
        ]

    def _row_metadata(self, name: str) -> dict[str, Any]:
        variable = self.variables.get(name) or Variable(Kind(), (), OWN_ROWS[name])
        shape, axes, dtype = variable.shape, variable.kind.axes, variable.dtype
        return array_metadata((self._rows, *shape), dtype, ("prompt", *axes), (WINDOW, *shape))

    def _attributes(self, progress: Progress, finished: bool) -> dict[str, Any]:
        model = self.manifest["model"]
        return {
            "result": "Study",
            "model": model["source"],
            "config": model["config"],
            "notes": json.dumps(model["notes"]),
            "manifest": json.dumps(self.manifest, ensure_ascii=False),
            "reasons": json.dumps(self.reasons),
            "prompts": progress.prompts,
            "without_numbers": json.dumps(progress.without_numbers(self.reasons)),
            "prompts_digest": progress.known[1] if progress.known else "",
            "finished": int(finished),
        }

    def _description(self) -> dict[str, Any]:
        variables = {
            name: {"kind": dataclasses.asdict(of.kind), "shape": list(of.shape), "dtype": of.dtype.name}
            for name, of in self.variables.items()
        }
        described = {"format": FORMAT, "manifest": self.manifest, "variables": variables, "reasons": self.reasons}
        return json.loads(json.dumps(described))  # as it will be read: lists for tuples


def _known(said: Mapping[str, Any]) -> tuple[int, str] | None:
    return None if said["known"] is None else (said["known"][0], said["known"][1])


def _kind(stored: Mapping[str, Any]) -> Kind:
    fields: dict[str, Any] = {name: tuple(of) if isinstance(of, list) else of for name, of in stored.items()}
    return Kind(**fields)


def _is_new(folder: Path) -> bool:
    """Whether a study can begin here: there is nothing, or a folder in which one was killed before it began.

    Raises:
        LandedError: for a folder or file that is something else.
    """
    if status_of(folder) is None:
        return True
    if not is_folder(folder):
        raise LandedError(f"{folder} is there and is no study: name another folder.")
    if status_of(folder / "study.json") is not None:
        return False
    if any(not path.name.endswith(".unfinished") for path in folder.iterdir()):
        raise LandedError(f"{folder} is there and is no study: name another folder.")
    return True


def _filled(rows: np.ndarray) -> np.ndarray:
    """Rows as a whole chunk: behind the last stands the fill value."""
    chunk = np.full((WINDOW, *rows.shape[1:]), np.nan if rows.dtype.kind == "f" else 0, rows.dtype)
    chunk[: len(rows)] = rows
    return chunk


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False).encode()
