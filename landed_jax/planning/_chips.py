"""Published figures of accelerators: memory, rates of products, bandwidths. Nothing here was measured."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Precision = Literal["highest", "default"]
PRECISIONS: tuple[Precision, ...] = ("highest", "default")
GB, TB = 10**9, 10**12
MIB = 2**20


@dataclass(frozen=True)
class Chip:
    """One kind of accelerator.

    Attributes:
        name: as a topology names it.
        title: as its vendor names it.
        axes: of a topology's grid; 0 for GPUs, of which a topology gives the number.
        memory: bytes.
        share: the part of them that JAX gives a program.
        fast_memory: bytes on the chip in which XLA places arrays that would else lie in `memory`.
        bandwidth: bytes a second from and to memory.
        products: operations a second of a product of float32 arrays, at each of JAX's precisions.
        link: bytes a second that a chip sends over its interconnect, all links together, in one direction.
        joined: how many chips that interconnect joins.
        network: bytes a second that a chip sends beyond them; 0 where nothing is joined to them.
    """

    name: str
    title: str
    axes: int
    memory: int
    share: float
    fast_memory: int
    bandwidth: float
    products: Mapping[Precision, float]
    link: float
    joined: int
    network: float

    @property
    def usable(self) -> int:
        """Bytes of memory that a program may take."""
        return int(self.memory * self.share)


def _tpu(name: str, axes: int, memory: int, fast: int, bandwidth: float, bf16: float, link: float, pod: int) -> Chip:
    # A product at JAX's highest precision is six of bfloat16 (jax.lax.Precision); at the default one it is one.
    products: dict[Precision, float] = {"highest": bf16 / 6, "default": bf16}
    return Chip(name, f"TPU {name}", axes, memory, 1.0, fast, bandwidth, products, link, pod, 0)


def _gpu(
    name: str, title: str, memory: int, bandwidth: float, fp32: float, tf32: float, link: float, network: float
) -> Chip:
    # JAX takes three quarters of a GPU's memory unless XLA_PYTHON_CLIENT_MEM_FRACTION says otherwise. A product at the
    # highest precision runs without tensor cores; at the default one in TF32. Eight GPUs make a DGX or HGX machine.
    products: dict[Precision, float] = {"highest": fp32, "default": tf32}
    return Chip(name, title, 0, memory, 0.75, 0, bandwidth, products, link, 8, network)


_ALL = (
    # Google Cloud documentation, "TPU v4": 275 TFLOPs bf16, 32 GiB and 1200 GBps of HBM2, 3D mesh or torus, 4096 chips;
    # "TPU v5p", comparison: interconnect 2400 Gbps a chip.
    _tpu("v4", 3, 32 * 2**30, 0, 1.2 * TB, 275 * TB, 300 * GB, 4096),
    # Google Cloud documentation, "TPU v5e": 197 TFLOPs bf16, 16 GB and 819 GBps of HBM2, interconnect 400 GBps in both
    # directions together, 2D torus, 256 chips. XLA's own programs for it hold 128 MiB in its vector memory.
    _tpu("v5e", 2, 16 * GB, 128 * MIB, 0.819 * TB, 197 * TB, 200 * GB, 256),
    # Google Cloud documentation, "TPU v5p": 459 TFLOPs bf16, 95 GB and 2765 GBps of HBM, interconnect 4800 Gbps a chip
    # in one direction, 3D torus, 8960 chips.
    _tpu("v5p", 3, 95 * GB, 0, 2.765 * TB, 459 * TB, 600 * GB, 8960),
    # Google Cloud documentation, "TPU v6e": 918 TFLOPs bf16, 32 GB and 1600 GBps of HBM, interconnect 800 GBps in both
    # directions together, 2D torus, 256 chips.
    _tpu("v6e", 2, 32 * GB, 0, 1.6 * TB, 918 * TB, 400 * GB, 256),
    # NVIDIA A100 Tensor Core GPU data sheet, SXM: FP32 19.5, TF32 156 TFLOPS (dense), 2039 and 1555 GB/s, NVLink
    # 600 GB/s both ways. NVIDIA DGX A100 data sheet: eight 200 Gb/s adapters for eight GPUs.
    _gpu("a100-40gb", "NVIDIA A100 40 GB SXM", 40 * GB, 1.555 * TB, 19.5 * TB, 156 * TB, 300 * GB, 25 * GB),
    _gpu("a100-80gb", "NVIDIA A100 80 GB SXM", 80 * GB, 2.039 * TB, 19.5 * TB, 156 * TB, 300 * GB, 25 * GB),
    # NVIDIA H100 Tensor Core GPU data sheet, SXM: FP32 67, TF32 989 TFLOPS with sparsity, 80 GB, 3.35 TB/s, NVLink
    # 900 GB/s both ways. NVIDIA DGX H100 data sheet: eight 400 Gb/s adapters for eight GPUs.
    _gpu("h100", "NVIDIA H100 SXM", 80 * GB, 3.35 * TB, 67 * TB, 494.5 * TB, 450 * GB, 50 * GB),
    # NVIDIA H200 Tensor Core GPU data sheet, SXM: as H100, with 141 GB and 4.8 TB/s. NVIDIA DGX H200 data sheet.
    _gpu("h200", "NVIDIA H200 SXM", 141 * GB, 4.8 * TB, 67 * TB, 494.5 * TB, 450 * GB, 50 * GB),
)


def chips() -> dict[str, Chip]:
    """The accelerators that can be planned for, by name.

    >>> list(chips())
    ['v4', 'v5e', 'v5p', 'v6e', 'a100-40gb', 'a100-80gb', 'h100', 'h200']
    """
    return {chip.name: chip for chip in _ALL}
