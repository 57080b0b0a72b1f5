"""A disk that is full: no file of the process grows beyond a limit, so that writes fail as they do there."""

import os
import subprocess
import sys
from pathlib import Path

from tests.compiling import XLA_FLAGS

ROOT = Path(__file__).parents[1]

# Python ignores SIGXFSZ: a write beyond the limit gives EFBIG, through whatever library it goes.
_LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
sys.argv = [sys.argv[0], *sys.argv[2:]]
"""


def python(code: str, *arguments: object, limit: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own, where files may have up to `limit` bytes; warnings are errors."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "XLA_FLAGS": XLA_FLAGS}
    limited, first = ("", []) if limit is None else (_LIMITED, [str(limit)])
    if limit is not None:  # or JAX would warn that it cannot keep what it compiles
        environment.pop("JAX_COMPILATION_CACHE_DIR", None)
        environment["PYTHONDONTWRITEBYTECODE"] = "1"  # Python 3.11 would leave a cut .pyc, which others then load
    command = [sys.executable, "-W", "error", "-c", limited + code, *first, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)


def command(*arguments: object, limit: int | None = None) -> subprocess.CompletedProcess[str]:
    """`landed`, as `python` runs it, without compiled programs of other runs."""
    return python("from landed_jax.cli import main; main()", "--no-cache", *arguments, limit=limit)
