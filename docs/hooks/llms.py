"""`llms.txt` and `llms-full.txt` beside the site: its pages as a list and as one text, for programs that read it."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.nav import Navigation, Section
from mkdocs.structure.pages import Page

_nav: list[Navigation] = []


def on_nav(nav: Navigation, **_: object) -> Navigation:
    _nav[:] = [nav]
    return nav


def on_post_build(config: MkDocsConfig) -> None:
    listed = [f"# {config.site_name}", f"> {config.site_description}"]
    full: list[str] = []
    for item in _nav[0].items:
        pages = _pages(item)
        listed.append(f"## {item.title}")
        listed.append(
            "\n".join(f"- [{page.title}]({page.file.dest_uri}): {described(page.markdown)}" for page in pages)
        )
        full += [f"<!-- {page.file.dest_uri} -->\n\n{page.markdown}" for page in pages if not page.file.generated_by]
    site = Path(config.site_dir)
    (site / "llms.txt").write_text("\n\n".join(listed) + "\n", encoding="utf-8")
    (site / "llms-full.txt").write_text("\n\n".join(full) + "\n", encoding="utf-8")


def described(markdown: str | None) -> str:
    """The first sentence of a page.

    >>> described("# Heads\\n\\nWhat a *head* does,\\nand [why](why.md). More.")
    'What a *head* does, and why.'
    """
    text = re.sub(r"^ *(`{3,}).*?^ *\1`*$|^:::.*", "", markdown or "", flags=re.DOTALL | re.MULTILINE)
    paragraphs = (part for part in text.split("\n\n") if part.strip() and not part.lstrip().startswith(("#", "|", "-")))
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", " ".join(next(paragraphs, "").split()))
    return re.split(r"(?<=[.?!]) (?=[A-ZΑ-Ω`])", text.replace("**", ""))[0]


def _pages(item: object) -> list[Page]:
    if isinstance(item, Page):
        return [item]
    return [page for child in item.children for page in _pages(child)] if isinstance(item, Section) else []
