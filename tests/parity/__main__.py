"""``python -m tests.parity``: measures every family, and writes what `landed models` and docs/families.md say of it."""

import datetime
import os
import sys
from importlib.metadata import version

from tests.compiling import XLA_FLAGS

# Read when JAX and torch are first imported: as the tests compile, in a fifth of the time.
os.environ["XLA_FLAGS"] = f"{XLA_FLAGS} {os.environ.get('XLA_FLAGS', '')}"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import jax
from transformers.utils import logging

from landed_jax.families import families, wrappers
from landed_jax.files.atomic_file import write_file
from landed_jax.report.parity import FILE, LastMeasured, Parity
from tests.families.page import BARS, PAGE, page
from tests.parity.cases import CASES
from tests.parity.measured import Errors, measure

_VERSIONS = ("transformers", "torch", "jax")


def main() -> int:
    """Measure, write, and give 1 where an error is above its bar."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    found = {}
    for name in [*families(), *wrappers()]:
        parity = found[name] = _worst([measure(case) for case, (kind, _) in CASES.items() if kind == name])
        jax.clear_caches()  # no other family has these configurations
        errors = ", ".join(f"{field} {error:.1e}" for field, error in parity._asdict().items() if field in BARS)
        print(f"{name}: {parity.models} models, {errors}", file=sys.stderr, flush=True)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    measured = LastMeasured(today, {package: version(package) for package in _VERSIONS}, found)
    write_file(FILE, measured.to_json().encode())
    write_file(PAGE, page().encode())
    return int(any(not getattr(parity, field) <= bar for parity in found.values() for field, bar in BARS.items()))


def _worst(errors: list[Errors]) -> Parity:
    """The largest of each kind, in two digits; a NaN stays one."""
    kinds = zip(*errors, strict=True)
    return Parity(
        len(errors), *(float(f"{max(kind, key=lambda error: (error != error, error)):.1e}") for kind in kinds)
    )


if __name__ == "__main__":
    sys.exit(main())
