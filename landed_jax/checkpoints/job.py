"""What a conversion is of, in few digits: an interrupted one is continued for the same files and settings only."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from landed_jax.checkpoints.native import FORMAT


def job_of(sources: Sequence[Path], *settings: object) -> str:
    """Digits for these files and folders, by their files' names, sizes and times, and for the settings.

    >>> from landed_jax.checkpoints.bundle import bundled_folder
    >>> job_of([bundled_folder()], None) == job_of([bundled_folder()], "bfloat16")
    False
    """
    found = [f"{FORMAT} {settings!r}"]
    for source in sources:
        for path in sorted(source.iterdir()) if source.is_dir() else [source]:
            state = os.stat(path)
            found.append(f"{path.resolve()} {state.st_size} {state.st_mtime_ns}")
    return hashlib.sha256("\n".join(found).encode(errors="surrogateescape")).hexdigest()[:16]
