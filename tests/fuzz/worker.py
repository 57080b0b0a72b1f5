"""The process that is watched: one mutation after the other, each announced before it is tried."""

import json
import resource
import sys
import time
import traceback
from pathlib import Path

from tests.fuzz.folders import Folders
from tests.fuzz.judge import judge


def main(place: str, seed: str, first: int) -> None:
    """Judge mutations from `first` on, until the process is ended."""
    folders = Folders(Path(place))
    for name, model in folders.models.items():  # what is compiled and imported counts for no mutation
        judge(Path(place, name), model, must_accept=True)
    number = first
    while True:
        before, begun = _peak(), time.process_time()
        print(json.dumps({"begin": number}), flush=True)
        folder, original, kind, what = folders.changed(seed, number)
        done = {"end": number, "kind": kind, "what": what}
        try:
            done["outcome"] = judge(folder, original, must_accept=kind == "neutral")
        except BaseException as error:  # a panic of Rust code is no Exception
            done |= {"outcome": "other", "error": repr(error)[:300], "trace": traceback.format_exc()[-3000:]}
        done["worked"] = time.process_time() - begun
        done["peak"] = peak if (peak := _peak()) > before else 0
        print(json.dumps(done), flush=True)
        number += 1


def _peak() -> int:
    """The most bytes of memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
