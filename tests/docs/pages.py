"""The pages that people read, in a repository or on the site, and what stands in them."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "conversion").glob("*.md")]
)
_BLOCK = re.compile(r"^( *)(`{3,})(\w*)\n(.*?)^\1\2 *$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """Fenced code: its language, its text without indentation, and the line of the page in which it begins."""

    language: str
    text: str
    line: int


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks_of(page: str) -> list[Block]:
    text = text_of(page)
    return [
        Block(
            found[3], re.sub(f"^{found[1]}", "", found[4], flags=re.MULTILINE), text.count("\n", 0, found.start()) + 2
        )
        for found in _BLOCK.finditer(text)
    ]


def prose_of(page: str) -> str:
    """A page without its fenced code."""
    return _BLOCK.sub("", text_of(page))
