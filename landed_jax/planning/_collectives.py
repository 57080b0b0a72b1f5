"""What devices send each other, read from the text of a compiled program."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

KINDS = (
    *("all-reduce", "all-gather", "reduce-scatter", "ragged-all-to-all", "all-to-all"),
    *("collective-permute", "collective-broadcast"),
)
_CALL = re.compile(rf"= (.*?) ({'|'.join(KINDS)})(?:-start)?\(")
_SHAPE = re.compile(r"([a-z]+)(\d+)?\[([\d,]*)\]")
_NAMED = r"=(\{[^}]*\}|%?[\w.\-]+)"
_CALLED = re.compile(rf"(?:calls|to_apply|body|condition|\w+_computations?){_NAMED}")
_LOOP = re.compile(r"(?:body|condition)=%?([\w.\-]+)")
_BRANCHES = re.compile(rf"(?:branch_computations|true_computation|false_computation){_NAMED}")
_SOURCE = re.compile(r'op_name="([^"]*)"')
_LAYERS = re.compile(r"/layers/(?:while|layer)")


@dataclass(frozen=True)
class Collective:
    """One operation between devices.

    Attributes:
        kind: such as ``all-reduce``.
        bytes: of its result on one device.
        in_loop: whether a loop repeats it, over layers or anything else.
        in_branch: whether a condition decides if it happens.
        source: the path of names in the program that it comes from; "" where the compiler does not say.
    """

    kind: str
    bytes: int
    in_loop: bool
    in_branch: bool
    source: str

    @property
    def of_forward(self) -> bool:
        """Whether it is one of the forward pass's own layers."""
        return _LAYERS.search(self.source) is not None


def collectives_of(text: str) -> list[Collective]:
    """The collectives of a compiled program (``compiled.as_text()``), in its order.

    >>> collectives_of('''ENTRY %main {
    ...   %sum = f32[2,8]{1,0} all-reduce(%x), to_apply=%add, metadata={op_name="jit(f)/dot"}
    ... }''')
    [Collective(kind='all-reduce', bytes=64, in_loop=False, in_branch=False, source='jit(f)/dot')]
    """
    calls: dict[str, set[str]] = {}
    loops: set[str] = set()
    branches: set[str] = set()
    found: list[tuple[str, Collective]] = []
    for computation, line in _lines(text):
        calls.setdefault(computation, set()).update(name for group in _CALLED.findall(line) for name in _names(group))
        loops.update(_LOOP.findall(line))
        branches.update(name for group in _BRANCHES.findall(line) for name in _names(group))
        if match := _CALL.search(line):
            source = _SOURCE.search(line)
            started = f"{match[2]}-start(" in line and match[2] != "all-reduce"  # which names no operands
            size = _bytes(_second(match[1]) if started else match[1])
            found.append((computation, Collective(match[2], size, False, False, source[1] if source else "")))
    in_loops, in_branches = _reached(loops, calls), _reached(branches, calls)
    return [
        Collective(one.kind, one.bytes, where in in_loops, where in in_branches, one.source) for where, one in found
    ]


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """Each line of a computation, with the computation's name."""
    computation = ""
    for line in text.splitlines():
        if line and not line[0].isspace() and line.rstrip().endswith("{"):
            computation = line.removeprefix("ENTRY").split()[0].lstrip("%")
        else:
            yield computation, line


def _names(group: str) -> list[str]:
    return [name.strip().lstrip("%") for name in group.strip("{}").split(",")]


def _reached(start: set[str], calls: dict[str, set[str]]) -> set[str]:
    reached, waiting = set(), list(start)
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += calls.get(name, ())
    return reached


def _second(result: str) -> str:
    """The second part of a tuple: of an operation that is only started, its result, behind its operands."""
    depth, parts = 0, [""]
    for sign in result.strip()[1:-1]:
        depth += (sign in "([{") - (sign in ")]}")
        if sign == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += sign
    return parts[1]


def _bytes(result: str) -> int:
    """Of all shapes in a text."""
    shapes = ((int(bits or 8), filter(None, axes.split(","))) for _, bits, axes in _SHAPE.findall(result))
    return sum(bits * math.prod(map(int, axes)) // 8 for bits, axes in shapes)
