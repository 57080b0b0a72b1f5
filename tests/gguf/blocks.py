"""Dequantisation of a block, value by value, from the definition of each type.

References:
    https://github.com/ggml-org/ggml/blob/master/src/ggml-quants.c (dequantize_row_…)
"""

import numpy as np


def _half(block: bytes, at: int) -> np.float32:
    return np.frombuffer(block[at : at + 2], "<f2")[0].astype(np.float32)


def _nibble(data: bytes, i: int) -> int:
    """The first half of the values stands in the low bits."""
    return data[i] & 15 if i < len(data) else data[i - len(data)] >> 4


def q8_0(block: bytes) -> list[np.float32]:
    return [_half(block, 0) * np.float32(q) for q in np.frombuffer(block[2:], np.int8)]


def q4_0(block: bytes) -> list[np.float32]:
    return [_half(block, 0) * np.float32(_nibble(block[2:], i) - 8) for i in range(32)]


def q4_1(block: bytes) -> list[np.float32]:
    return [_half(block, 0) * np.float32(_nibble(block[4:], i)) + _half(block, 2) for i in range(32)]


def _fifth(bits: bytes, i: int) -> int:
    return (int.from_bytes(bits, "little") >> i & 1) << 4


def q5_0(block: bytes) -> list[np.float32]:
    return [_half(block, 0) * np.float32((_nibble(block[6:], i) | _fifth(block[2:6], i)) - 16) for i in range(32)]


def q5_1(block: bytes) -> list[np.float32]:
    d, low = _half(block, 0), _half(block, 2)
    return [d * np.float32(_nibble(block[8:], i) | _fifth(block[4:8], i)) + low for i in range(32)]


def _six_bits(packed: bytes, j: int) -> tuple[int, int]:
    """Scale and minimum of group j, of 12 bytes that hold eight of each."""
    if j < 4:
        return packed[j] & 63, packed[j + 4] & 63
    return packed[j + 4] & 15 | packed[j - 4] >> 6 << 4, packed[j + 4] >> 4 | packed[j] >> 6 << 4


def q4_k(block: bytes) -> list[np.float32]:
    d, low, quants = _half(block, 0), _half(block, 2), block[16:]
    values = []
    for group in range(8):
        scale, minimum = _six_bits(block[4:16], group)
        part = quants[32 * (group // 2) : 32 * (group // 2) + 32]
        for byte in part:
            q = byte >> 4 if group % 2 else byte & 15
            values.append(d * np.float32(scale) * np.float32(q) - low * np.float32(minimum))
    return values


def q6_k(block: bytes) -> list[np.float32]:
    low, high, scales, d = block[:128], block[128:192], np.frombuffer(block[192:208], np.int8), _half(block, 208)
    values = []
    for i in range(256):
        half, inside = divmod(i, 128)
        quarter, place = divmod(inside, 32)
        byte = low[64 * half + place + 32 * (quarter % 2)]
        nibble = byte >> 4 if quarter > 1 else byte & 15
        q = nibble | (high[32 * half + place] >> 2 * quarter & 3) << 4
        values.append(d * np.float32(scales[i // 16]) * np.float32(q - 32))
    return values


DEFINITIONS = {
    "Q8_0": q8_0,
    "Q4_0": q4_0,
    "Q4_1": q4_1,
    "Q5_0": q5_0,
    "Q5_1": q5_1,
    "Q4_K": q4_k,
    "Q6_K": q6_k,
}
