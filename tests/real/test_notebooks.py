"""The notebook on the public model prints what is stored in it."""

from pathlib import Path

import pytest

from tests.notebooks import REAL
from tests.test_notebooks import compared

pytestmark = pytest.mark.real


@pytest.mark.parametrize("name", REAL)
def test_it_prints_what_is_stored(name: str, smollm2: Path) -> None:
    compared(name, smollm2)
