"""How near a GPU comes to what its arithmetic and its memory allow."""

from benchmarks.arithmetic import bytes_moved, flops
from landed_jax import ModelConfig

# By a part of the device's name: float32 operations a second outside the tensor cores (the products run at highest
# precision), and bytes a second. From the makers' data sheets, for the SXM boards.
PEAKS = {"H200": (67e12, 4.8e12), "H100": (67e12, 3.35e12), "A100": (19.5e12, 2.0e12)}


def fraction(device: str, name: str, config: ModelConfig, length: int, seconds: float) -> float | None:
    """The least time that the device could take, over the time taken; None for a device that is not in the table."""
    operations = flops(name, config, length)
    for part, (rate, bandwidth) in PEAKS.items():
        if part in device and operations is not None:
            return max(operations / rate, bytes_moved(name, config, length) / bandwidth) / seconds
    return None
