"""A program of several processes: studies of a tiny model, by shares and in step."""

import sys
from pathlib import Path

import jax
import pytest

import landed_jax as landed
from landed_jax.errors import LandedError
from landed_jax.mesh import mesh_of
from landed_jax.studies import _store
from landed_jax.studies._progress import packed
from tests.distributed.analyses import CONFIG, cut_params
from tests.distributed.together import join
from tests.models import random_params
from tests.studies.runs import prompts_of, short_windows

KEEP = ("scale", "stability", "attribution", "effects", "top")
PROMPTS = [*prompts_of(61), [], [99]]


def main(folder: Path) -> None:
    short_windows(pytest.MonkeyPatch())
    index, several = jax.process_index(), jax.process_count() > 1
    own = landed.Model(CONFIG, random_params(CONFIG), source="tiny")
    landed.study(own, PROMPTS, KEEP, folder / "shares")
    held = landed.study(own, PROMPTS, KEEP)
    (folder / f"rows {index}.npz").write_bytes(packed(held.rows))
    means = {name: one.moments.mean for name, one in held.statistics.items()}
    (folder / f"means {index}.npz").write_bytes(packed(means))
    if not several:
        return
    together = landed.Model(CONFIG, cut_params(mesh_of(f"model={len(jax.devices())}")), source="tiny")
    landed.study(together, PROMPTS, KEEP, folder / "in step")
    refused = {
        "read different prompts": lambda: landed.study(own, prompts_of(40 + 9 * index), KEEP),
        "not asked for the same study": lambda: landed.study(own, PROMPTS, KEEP[: 1 + min(index, 1)]),
        "holds a study of other settings": lambda: landed.study(own, PROMPTS, KEEP[:2], folder / "shares"),
        "name a file that all read": lambda: landed.study(own, "-", KEEP),
        "no room": lambda: landed.study(own, PROMPTS, KEEP, folder / "full"),
    }

    def full(path: Path, data: bytes, **how: bool) -> None:
        if path.name == "progress.json":
            raise LandedError("no room")
        path.write_bytes(data)

    for said, work in refused.items():
        with pytest.MonkeyPatch.context() as patched:
            if said == "no room":
                patched.setattr(_store, "write_file", full)
            with pytest.raises(LandedError, match=said):
                work()


if __name__ == "__main__":
    join()
    main(Path(sys.argv[1]))
