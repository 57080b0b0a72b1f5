"""The roofline bound on a GPU: the least time by arithmetic and by memory traffic, over the measured time."""

from benchmarks.arithmetic import bytes_moved, flops
from landed_jax import ModelConfig

# By the device's name in JAX: float32 operations per second without tensor cores (products run at highest precision),
# and bytes per second. From the vendors' data sheets; other boards with the same chips have other figures.
PEAKS = {
    "NVIDIA H200": (67e12, 4.8e12),
    "NVIDIA H100 80GB HBM3": (67e12, 3.35e12),
    "NVIDIA A100-SXM4-80GB": (19.5e12, 2.039e12),
    "NVIDIA A100-SXM4-40GB": (19.5e12, 1.555e12),
}


def fraction(device: str, name: str, config: ModelConfig, length: int, seconds: float) -> float | None:
    """The bound on time over the measured time; None for a device that is not in the table."""
    operations = flops(name, config, length)
    for part, (rate, bandwidth) in PEAKS.items():
        if f"({part})" in device and operations is not None:
            return max(operations / rate, bytes_moved(name, config, length) / bandwidth) / seconds
    return None
