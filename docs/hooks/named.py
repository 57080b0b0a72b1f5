"""Public names in a page's text, `landed.attribute` for example, become links to the reference."""

import re

from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page
from reference import addresses

_NAMED = re.compile(r"<(pre|a|h\d)\b.*?</\1>|<code>landed(?:_jax)?((?:\.\w+)+)[^<]*</code>", re.DOTALL)


def on_page_content(content: str, page: Page, files: Files, **_: object) -> str:
    def linked(found: re.Match[str]) -> str:
        address = found[2] and _address(f"landed{found[2]}")
        if not address:
            return found[0]
        path, _, anchor = address.partition("#")
        file = files.get_file_from_path(path)
        assert file is not None
        return f'<a href="{file.url_relative_to(page.file)}#{anchor}">{found[0]}</a>'

    return _NAMED.sub(linked, content)


def _address(name: str) -> str | None:
    """Where a name is described, or what it is a part of.

    >>> _address("landed.Model.trace") == _address("landed.Model") != None
    True
    """
    while name.count("."):
        if name in addresses():
            return addresses()[name]
        name = name.rpartition(".")[0]
    return None
