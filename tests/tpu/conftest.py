"""The TPU's compiler without a TPU: the package libtpu, which `make tpu` installs."""

import os

import pytest

# Read when libtpu is loaded; without them it looks for the machine that it is on.
os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-8")
os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")


@pytest.fixture(scope="session", autouse=True)
def _libtpu() -> None:
    pytest.importorskip("libtpu", reason="libtpu is not installed: `make tpu` makes an environment that has it")
