"""One study of several that were run apart, on other machines for example."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from landed_jax.errors import LandedError, listed
from landed_jax.files.atomic_folder import check_destination
from landed_jax.files.kinds import expanded
from landed_jax.manifest import differences
from landed_jax.studies._batches import WINDOW
from landed_jax.studies._progress import Progress
from landed_jax.studies._runs import merged_statistics
from landed_jax.studies._store import Store
from landed_jax.studies._study import Study, opened

MERGED = "merged"
"""The name of prompts that several studies brought together."""


def merge(folders: Sequence[str | Path], out: str | Path) -> Study:
    """A study of all prompts of several finished ones, of the same model and settings.

    Prompts are numbered on: those of the second study follow those of the first. Counts and quantiles are those of one
    study over all of them, means and variances equal them to rounding.

    Raises:
        LandedError: for fewer than two studies, an unfinished one, other models or settings, the same prompts twice,
            and an `out` that exists or cannot be written.
    """
    if len(folders) < 2:
        raise LandedError("One study is whole by itself: name two or more to merge.")
    target = expanded(out)
    check_destination(target)
    stores = [Store.opened(expanded(folder).absolute()) for folder in folders]
    loaded = [store.load() for store in stores]
    first = stores[0]
    for store, (_, finished) in zip(stores, loaded, strict=True):
        if not finished:
            raise LandedError(f"The study in {store.folder} is not finished: give its command again first.")
        apart = differences(first.manifest, store.manifest, ignored=("command", "prompts"))
        if apart or first.variables != store.variables:
            more = apart or ["what is kept has other shapes"]
            raise LandedError(f"{first.folder} and {store.folder} cannot be merged: {listed(more)}.")
    digests = [progress.known[1] if progress.known else "" for progress, _ in loaded]
    if len(set(digests)) < len(digests):
        raise LandedError("Two of these studies are of the same prompts, which would count twice.")
    merged = Progress.begun(first.variables, len(first.reasons))
    parts: dict[str, list[np.ndarray]] = {name: [] for name in merged.pending}
    for store, (progress, _) in zip(stores, loaded, strict=True):
        before = merged.prompts
        later = {name: part.renumbered(before) for name, part in progress.statistics.items()}
        merged.statistics = merged_statistics(merged.statistics, later)
        merged.reasons = merged.reasons + progress.reasons
        merged.batches += progress.batches
        for name, rows in store.rows().items():
            parts[name].append(rows + before if name == "prompt" else rows)
    rows = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    merged.known = merged.prompts, hashlib.sha256("".join(digests).encode()).hexdigest()
    merged.windows = [
        {name: values[start : start + WINDOW] for name, values in rows.items()}
        for start in range(0, merged.prompts, WINDOW)
    ]
    sources = [json.dumps(store.manifest["prompts"], sort_keys=True) for store in stores]
    manifest = {**first.manifest, "prompts": {"source": MERGED, "of": sources}, "command": MERGED}
    with Store.writing(target, manifest, first.variables, first.reasons) as (store, _, _):
        store.commit(merged, finished=True)
    return opened(target)
