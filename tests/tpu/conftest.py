"""The TPU's compiler without a TPU: the package libtpu, which `make tpu` installs."""

import os
from importlib.util import find_spec

import pytest

from landed_jax.planning._libtpu import use_libtpu
from landed_jax.planning._topology import topology_of


@pytest.fixture(scope="session", autouse=True)
def _libtpu() -> None:
    if find_spec("libtpu") is None:
        pytest.skip("libtpu is not installed: `make tpu` makes an environment that has it")
    use_libtpu(topology_of("v5e:2x4"), os.environ)
