"""The float types that weights may have."""

from collections.abc import Iterable

import jax
import ml_dtypes
import numpy as np

from landed_jax.errors import LandedError

# By safetensors' names.
FLOATS = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
}


_EXPONENTS = {"F16": 0x7C00, "BF16": 0x7F80}  # all ones in what is not finite


def count_not_finite(values: np.ndarray) -> int:
    """How many values are infinite or not a number.

    >>> count_not_finite(np.array([1, np.inf, np.nan], FLOATS["BF16"]))
    2
    """
    exponent = next((bits for name, bits in _EXPONENTS.items() if FLOATS[name] == values.dtype), None)
    if exponent is None:
        return values.size - int(np.count_nonzero(np.isfinite(values)))
    # NumPy looks at numbers of types that it does not know one after another.
    return int(np.count_nonzero((values.view(np.uint16) & exponent) == exponent))


def require_64_bit(dtypes: Iterable[np.dtype]) -> None:
    """Refuse float64 weights while JAX would silently round them to float32.

    Raises:
        LandedError: if there are any and 64-bit types are off.
    """
    if FLOATS["F64"] in dtypes and not jax.config.read("jax_enable_x64"):
        raise LandedError("These weights are float64: set the environment variable JAX_ENABLE_X64=1 to load them.")
