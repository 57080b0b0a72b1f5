"""Values that do not belong where they are put, and JSON that Python's own writer would not write."""

import copy
import json
import random
from collections.abc import Callable
from typing import Any


class Raw(str):
    """Text that stands in the JSON as it is: numbers of too many digits, brackets a hundred thousand deep."""


NUMBERS: tuple[Any, ...] = (
    *(0, -1, 1, 2, 3, 4, 7, 16, 2**16, 10**6, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64),
    *(10**10, 10**19, 10**29, 10**100, -(2**31), -(2**63) - 1, 0.5, 1.0, 2.0, 1e-3, 1e30, 1e39, 1e308, 1e-46, -0.0),
    *(float("nan"), float("inf"), float("-inf"), Raw("1e400"), Raw("-1e400"), Raw("1" * 5000), Raw("1" * 300)),
)
JUNK: tuple[Any, ...] = (
    *(None, True, False, "", "x", "8", "silu", "llama", "\0", "\ud800", "\x1b]0;x\x07", "\u202e", "a" * 100_000),
    *([], {}, [1], ["a"], {"a": 1}, {"": {}}, [None] * 50, list(range(200_000))),
    *(Raw("[" * n + "]" * n) for n in (30, 90, 900, 100_000)),
    Raw('{"a":' * 900 + "1" + "}" * 900),
)


def junk(pick: random.Random) -> Any:
    """A number or something else, any of those above."""
    return copy.deepcopy(pick.choice(pick.choice((NUMBERS, JUNK))))


def written(values: Any) -> str:
    """The JSON text of values with `Raw` text in them."""
    raw: list[Raw] = []

    def marked(value: Any) -> Any:
        if isinstance(value, Raw):
            raw.append(value)
            return f"\1{len(raw) - 1}\1"
        if isinstance(value, dict):
            return {name: marked(child) for name, child in value.items()}
        return [marked(child) for child in value] if isinstance(value, list) else value

    text = json.dumps(marked(values))
    for index, value in enumerate(raw):
        text = text.replace(f'"\\u0001{index}\\u0001"', value)
    return text


def somewhere(values: Any, pick: random.Random) -> tuple[Any, Any]:
    """A container inside of JSON values, and the key or index of one of its members; the deeper the less likely."""
    node: Any = values
    while True:
        key = pick.choice([*node] if isinstance(node, dict) else range(len(node)))
        child = node[key]
        if not isinstance(child, dict | list) or not child or pick.random() < 0.4:
            return node, key
        node = child


def damaged_json(values: Any, pick: random.Random) -> str:
    """The same JSON with one member changed, removed, renamed or added."""
    values = copy.deepcopy(values)
    node, key = somewhere(values, pick)
    what = pick.choice(("change", "change", "change", "remove", "rename", "add", "swap"))
    if what == "change":
        node[key] = junk(pick)
    elif what == "remove":
        del node[key]
    elif what == "rename" and isinstance(node, dict):
        node[pick.choice(("x", str(key).upper(), f"{key}s", "", "a" * 300))] = node.pop(key)
    elif what == "add" and isinstance(node, dict):
        node[pick.choice(("x", "_x", "is_causal", "rope_theta", "\ud800", "a" * 5000))] = junk(pick)
    elif what == "swap":
        other, place = somewhere(values, pick)
        node[key], other[place] = copy.deepcopy(other[place]), copy.deepcopy(node[key])
    else:
        node.extend([junk(pick)] if isinstance(node, list) else [])
    return written(values)


def _cut(data: bytes, pick: random.Random) -> bytes:
    return data[: pick.choice((0, 1, 8, len(data) - 1, pick.randrange(len(data))))]


def _flip(data: bytes, pick: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(pick.choice((1, 1, 1, 8))):
        changed[pick.randrange(len(changed))] ^= 1 << pick.randrange(8)
    return bytes(changed)


def _insert(data: bytes, pick: random.Random) -> bytes:
    place = pick.randrange(len(data))
    return data[:place] + pick.choice((b"\0", b"\xff", b"{", b'"', b"0" * 5000, b"\n")) + data[place:]


def _delete(data: bytes, pick: random.Random) -> bytes:
    place = pick.randrange(len(data))
    return data[:place] + data[place + pick.choice((1, 8, 100)) :]


_OTHER_FILES = (
    b"",
    b"null",
    b"{}",
    b"[]",
    b"<!DOCTYPE html><html><title>Not found</title></html>",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0a1b\nsize 4976698672\n",
    b"\xff\xfe{\0}\0",
    b"\0" * 4096,
    b"[" * 1_000_000,
    b"\x80\x04\x95.",
)


def damaged_bytes(data: bytes, pick: random.Random) -> bytes:
    """The bytes of a file cut off, with bits flipped, with bytes put in or left out, or of another file."""
    ways: tuple[Callable[[bytes, random.Random], bytes], ...] = (_cut, _flip, _flip, _flip, _insert, _delete)
    if not data or pick.random() < 0.15:
        return pick.choice((*_OTHER_FILES, b"\xef\xbb\xbf" + data, data + b"\0", data + data))
    return pick.choice(ways)(data, pick)
