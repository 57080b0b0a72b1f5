"""Links of pages lead somewhere in the repository too, where no site is built."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, prose_of, text_of

LINK = re.compile(r"\]\(([^)\s]+)\)")
ADDRESS = re.compile(r"https://[\w.-]+\.[a-z]{2,}(/[\w./%#?=&~+@:-]*)?")


def anchors(path: Path) -> set[str]:
    """The places of a page, as forges name them after its headings."""
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} (.+)$", prose_of(path.relative_to(ROOT).as_posix()), flags=re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        repeated = next(n for n in range(len(found) + 1) if (f"{slug}-{n}" if n else slug) not in found)
        found.add(f"{slug}-{repeated}" if repeated else slug)
    return found


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    wrong = []
    for link in LINK.findall(re.sub(r"`[^`\n]*`", "`code`", prose_of(page))):
        if ":" in link:
            if not ADDRESS.fullmatch(link):
                wrong.append(link)
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        if not target.resolve().exists() or (anchor and anchor not in anchors(target.resolve())):
            wrong.append(link)
    assert wrong == []


def test_every_page_is_reached() -> None:
    """A page that no other one links to is found by nobody who reads the repository."""
    linked = {
        ((ROOT / page).parent / link.partition("#")[0]).resolve()
        for page in PAGES
        for link in LINK.findall(text_of(page))
    }
    alone = [page for page in PAGES if page.startswith("docs/") and (ROOT / page).resolve() not in linked]
    assert alone == []
