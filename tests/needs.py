"""What some tests need and an installation may lack."""

from importlib.util import find_spec

import pytest

NO_TORCH = "torch is not installed: it runs the reference that this is compared with (extra `test`)"
needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason=NO_TORCH)
