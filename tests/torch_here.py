"""Torch; a test file that imports it from here is skipped where it is not installed."""

import pytest

from tests.needs import NO_TORCH

torch = pytest.importorskip("torch", reason=NO_TORCH)
