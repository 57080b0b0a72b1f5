"""The finished parts of a folder that is being written: their checksums, and a record by which others go on with it."""

import json
import os
from pathlib import Path
from typing import Any

from landed_jax.errors import LandedError
from landed_jax.files.atomic_file import sync_folder
from landed_jax.files.checksums import crc32, files_of, sealed, unsealed
from landed_jax.files.unfinished import keep, remove

_RECORD = "finished-parts.json"


class Parts:
    """Parts of a folder: files or folders in it, each finished on the disk before the next begins.

    Args:
        folder: where they are.
        resumable: the folder is nobody else's, and may be what an interrupted process left: what is in no finished part
            is removed; from the first finished part on it stays if this process is interrupted too.

    Attributes:
        checksums: of every file of the finished parts, by its path in the folder.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     parts = Parts(Path(folder))
    ...     (Path(folder) / "a").write_text("weights") and parts.finish("a")
    ...     again = Parts(Path(folder), resumable=True)
    ...     again.is_finished("a"), again.is_finished("b")
    (True, False)
    """

    def __init__(self, folder: Path, resumable: bool = False) -> None:
        self._folder, self._resumable = folder, resumable
        self._parts = self._found()
        self.checksums = {name: crc for part in self._parts.values() for name, crc in part.items()}
        for name in files_of(folder) if resumable else ():
            if name not in self.checksums and name != _RECORD:
                remove(folder / name)

    def is_finished(self, name: str) -> bool:
        """Whether a part is there."""
        return name in self._parts

    def finish(self, name: str) -> None:
        """Bring a part onto the disk, and record it."""
        path = self._folder / name
        inside = [f"{name}/{file}" for file in files_of(path)] if path.is_dir() else [name]
        for file in inside:
            with (self._folder / file).open("rb") as opened:
                os.fsync(opened.fileno())
        for place in {(self._folder / file).parent for file in inside}:
            sync_folder(place)
        self._parts[name] = {file: crc32(self._folder / file) for file in inside}
        self.checksums |= self._parts[name]
        record, new = self._folder / _RECORD, self._folder / f"{_RECORD}.new"
        with new.open("w", encoding="utf-8") as opened:
            opened.write(json.dumps(sealed({"parts": self._parts})))
            opened.flush()
            os.fsync(opened.fileno())
        new.replace(record)
        sync_folder(self._folder)
        if self._resumable:
            keep(self._folder)

    def close(self) -> dict[str, str]:
        """Compare all files with their checksums, and remove the record.

        Returns:
            The checksums, by the files' paths in the folder.

        Raises:
            LandedError: if the disk gives back other bytes than were written.
        """
        for name, checksum in self.checksums.items():
            if crc32(self._folder / name) != checksum:
                raise LandedError(f"{self._folder / name} is not what was written: look at the disk, and begin again.")
        remove(self._folder / _RECORD)
        return self.checksums

    def _found(self) -> dict[str, dict[str, str]]:
        """The parts of a sound record whose files are all there."""
        try:
            record: Any = json.loads((self._folder / _RECORD).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        if not isinstance(record, dict) or not unsealed(record):
            return {}
        return {
            name: files
            for name, files in record["parts"].items()
            if all((self._folder / file).is_file() for file in files)
        }
