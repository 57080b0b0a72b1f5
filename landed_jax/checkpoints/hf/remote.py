"""Checkpoints in object stores (``gs://bucket/folder``, ``s3://…``, what else fsspec reads), copied to disk once."""

import fnmatch
import hashlib
import json
import os
import re
import urllib.parse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from landed_jax.errors import LandedError, first_line
from landed_jax.files.atomic_file import write_file
from landed_jax.files.json_object import read_json_object

MANIFEST = "landed.json"  # of a native folder
_REMOTE = re.compile(r"[a-z][a-z0-9+]+://")
_URL = re.compile(r"[a-z][a-z0-9+]+://[^\s'\"<>]+")
# Parts of the names under which stores tell a file's version: checksums, times, numbers of changes.
_VERSION = re.compile("etag|md5|crc|sha|hash|blob|lfs|generation|version|mtime|modif|updated|created", re.IGNORECASE)


def is_remote(source: str | os.PathLike[str]) -> bool:
    """
    >>> is_remote("gs://bucket/llama"), is_remote("/models/llama"), is_remote("owner/name")
    (True, False, False)
    """
    return _REMOTE.match(os.fspath(source)) is not None


def without_secrets(url: str) -> str:
    """A URL without the user's name and password and without its query, which may hold a signature.

    >>> without_secrets("https://me:secret@host/llama?signature=1"), without_secrets("gs://bucket/llama")
    ('https://host/llama', 'gs://bucket/llama')
    """
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def copied(url: str, wanted: tuple[str, ...]) -> Path:
    """The folder on disk with the files of a remote folder, or the one remote GGUF file.

    Files that the store says are unchanged are not copied again, and an interrupted copy goes on with the file it was
    at. Processes that ask for the same folder wait for each other. The copies lie in ``HF_HOME``.

    Args:
        wanted: patterns of the names of files.

    Raises:
        LandedError: if the store cannot be read, a package for it is missing, or nothing that is wanted is there.
    """
    import filelock
    import fsspec
    from huggingface_hub.constants import HF_HOME

    shown = without_secrets(url)
    try:
        files, place = fsspec.url_to_fs(url)
        found = {name: facts for name, facts in files.find(place, detail=True).items() if facts["type"] == "file"}
    except ImportError as error:  # fsspec's own sentence names the package
        raise LandedError(f"{shown} needs a package that is not installed: {first_line(error)}.") from error
    except Exception as error:  # errors of the stores' libraries have many types; all mean that it was not read
        raise LandedError(f"{shown} cannot be read ({_said(error)}).") from error
    root = files._strip_protocol(place)
    alone = set(found) == {root}
    named = {Path(root).name if alone else name[len(root) :].lstrip("/"): name for name in found}
    native = MANIFEST in named and any("safetensors" in pattern for pattern in wanted)  # and its weights are asked for
    asked = (*wanted, MANIFEST)
    some = {own: name for own, name in named.items() if alone or native or _wanted(own, asked)}
    if not some:
        raise LandedError(f"{shown} holds no checkpoint: there is no config.json and no weights, or no such folder.")
    if outside := [own for own in some if ".." in own.split("/")]:
        raise LandedError(f"{shown} holds {outside[0]!r}, a name that leads out of its folder.")
    digest = hashlib.sha256(url.rstrip("/").encode()).hexdigest()[:16]
    folder = Path(HF_HOME, "landed_jax", f"{digest}-{Path(root).name}")
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder.with_name(f"{folder.name}.lock")):
        _remove_others(folder, named)
        versions = _Versions(folder.with_name(f"{folder.name}.json"))
        for own, name in some.items():
            version = _version(found[name])
            if version is None or not (folder / own).exists() or not versions.same(own, version):
                versions.put(own, None)
                _copy(files, name, found[name].get("size"), folder / own, shown)
                versions.put(own, version)
    return folder / next(iter(some)) if alone else folder


def _said(error: Exception) -> str:
    """An error of a store, whose text may hold the URL that it was asked for."""
    return f"{type(error).__name__}: {_URL.sub(lambda found: without_secrets(found[0]), first_line(error))}"


def _wanted(own: str, wanted: tuple[str, ...]) -> bool:
    return "/" not in own and any(fnmatch.fnmatchcase(own, pattern) for pattern in wanted)


def _remove_others(folder: Path, named: Iterable[str]) -> None:
    """Remove copies of files that are not there any more."""
    kept = {folder / own for own in named}
    for path in folder.rglob("*"):
        if path.is_file() and path not in kept:
            path.unlink()


class _Versions:
    """Which version of each file was copied whole: a JSON file beside the folder."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.known: dict[str, Any] = read_json_object(file) if file.exists() else {}

    def same(self, own: str, version: list[str]) -> bool:
        return self.known.get(own) == version

    def put(self, own: str, version: list[str] | None) -> None:
        self.known[own] = version
        write_file(self.file, json.dumps(self.known).encode())


def _version(facts: dict[str, Any]) -> list[str] | None:
    """What a store says of a file's version: checksums, times, numbers; None where it is the size alone."""
    known = [f"{key} {facts[key]}" for key in sorted(facts) if _VERSION.search(key) and facts[key] is not None]
    return [f"size {facts.get('size')}", *known] if known else None


def _copy(files: Any, name: str, size: int | None, there: Path, shown: str) -> None:
    """Copy under another name first: who has the old file open goes on reading it."""
    there.parent.mkdir(parents=True, exist_ok=True)
    new = there.with_name(f"{there.name}.copying")
    try:
        files.get_file(name, str(new))
        came = new.stat().st_size
        if size is not None and came != size:
            raise LandedError(f"{shown}: {there.name} has {size:,} bytes, and {came:,} came: try again.")
        new.replace(there)
    except LandedError:
        raise
    except Exception as error:  # as in `copied`
        raise LandedError(f"{shown}: {there.name} could not be copied ({_said(error)}).") from error
    finally:
        new.unlink(missing_ok=True)
