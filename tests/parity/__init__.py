"""Parity with `transformers`: without torch, which runs it, every file here is skipped as it is opened."""

import pytest

from tests.needs import NO_TORCH

pytest.importorskip("torch", reason=NO_TORCH)
