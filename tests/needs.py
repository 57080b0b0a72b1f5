"""What some tests need and an installation may lack."""

from importlib.util import find_spec

import pytest

NO_TORCH = "torch is not installed: it runs the reference that this is compared with (extra `test`)"
needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason=NO_TORCH)
NO_LIBTPU = "libtpu is not installed: it compiles for TPUs on a machine without one (pip install libtpu)"
needs_libtpu = pytest.mark.skipif(find_spec("libtpu") is None, reason=NO_LIBTPU)
