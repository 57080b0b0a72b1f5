"""Files beside `docs/` that its pages link to, as pages of the site: so a link works on a forge, here and offline.

Pages link by the paths of the repository. A linked file outside of `docs/` becomes a page under `repository/` (Markdown
as it is, other text as code), and what it links to follows. Notebooks become pages with their stored outputs.
"""

import json
import posixpath
import re
from collections.abc import Callable
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import get_plugin_logger
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
_LOG = get_plugin_logger("outside")
_CODE = re.compile(r"(^ *(`{3,}).*?^ *\2 *$|`[^`\n]+`)", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(\]\()([^)\s#]*)((?:#[^)\s]*)?\))")
_LANGUAGES = {".py": "python", ".json": "json", ".sh": "sh"}
_IMAGES = (".svg", ".png")
_OWN = {"landed_jax/__init__.pyi": "reference/landed_jax.md"}  # the site says it otherwise
_paths: dict[str, str] = {}  # a page of the site → the file of the repository


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """All notebooks stand in the navigation."""
    pages = [_uri(f"notebooks/{path.name}") for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]
    nav = config.nav or []
    nav.insert(next(n for n, group in enumerate(nav) if "Reference" in group), {"Notebooks": pages})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds what the pages link to, and what that links to."""
    _paths.clear()
    _paths.update({file.src_uri: f"docs/{file.src_uri}" for file in files.documentation_pages()})
    todo = [(path, (ROOT / path).read_text(encoding="utf-8")) for path in _paths.values() if (ROOT / path).is_file()]
    todo += [(f"notebooks/{path.name}", "") for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]
    seen = set(_paths.values())
    while todo:
        path, text = todo.pop()
        if path not in seen:
            seen.add(path)
            text = _added(path, files, config)
        todo += [(target, "") for target in _targets(path, text) if target not in seen]
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """The links of a page, from the repository's paths to the site's."""
    here = page.file.src_uri
    if here not in _paths:
        return markdown

    def moved(found: re.Match[str]) -> str:
        target = _target(_paths[here], found[2])
        return found[0] if target is None else f"{found[1]}{_relative(_uri(target), here)}{found[3]}"

    return _outside_code(markdown, lambda text: _LINK.sub(moved, text))


def _added(path: str, files: Files, config: MkDocsConfig) -> str:
    """Adds one file to the site. Returns the Markdown whose links are to be followed."""
    uri, file = _uri(path), ROOT / path
    if not file.is_file():
        _LOG.warning("'%s' is linked to and is not a file of the repository", path)
        return ""
    if path.endswith(_IMAGES):
        files.append(File.generated(config, uri, abs_src_path=str(file)))
        return ""
    _paths[uri] = path
    text = page_of(path, file.read_text(encoding="utf-8"))
    files.append(File.generated(config, uri, content=text))
    return text if file.suffix in (".md", ".ipynb") else ""


def page_of(path: str, text: str) -> str:
    """A text file as Markdown.

    >>> page_of("tests/models.py", "x = 1")
    '# tests/models.py\\n\\n````python\\nx = 1\\n````\\n'
    """
    suffix = Path(path).suffix
    if suffix == ".md":
        return text
    if suffix == ".ipynb":
        return "\n\n".join(_cell(cell) for cell in json.loads(text)["cells"])
    return f"# {path}\n\n````{_LANGUAGES.get(suffix, '')}\n{text}\n````\n"


def _cell(cell: dict) -> str:
    source = "".join(cell["source"])
    if cell["cell_type"] != "code":
        return source
    return "\n\n".join([f"````python\n{source}\n````", *(_output(output) for output in cell["outputs"])])


def _output(output: dict) -> str:
    """What a cell gave, as a picture or as text. Its HTML is left out: it may bring scripts of its own."""
    data = output.get("data", {"text/plain": output.get("text", output.get("traceback", ""))})
    if "image/png" in data:
        return f'<img alt="" src="data:image/png;base64,{"".join(data["image/png"].split())}">'
    return f"````text\n{''.join(data.get('text/plain', ''))}\n````"


def _targets(path: str, text: str) -> list[str]:
    """Files outside of `docs/` that a page links to."""
    found: list[str] = []
    _outside_code(text, lambda part: found.extend(match[2] for match in _LINK.finditer(part)) or part)
    targets = [_target(path, link) for link in found]
    return [target for target in targets if target and target not in _OWN and not target.startswith("docs/")]


def _target(path: str, link: str) -> str | None:
    """The file of the repository that a link of a page leads to; None for addresses and places of the same page."""
    if not link or ":" in link:
        return None
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), link))


def _uri(path: str) -> str:
    """Where the site has a file of the repository."""
    if path in _OWN:
        return _OWN[path]
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    page = path.endswith((*_IMAGES, ".md"))
    return f"repository/{path if page else path + '.md'}"


def _relative(uri: str, here: str) -> str:
    return posixpath.relpath(uri, posixpath.dirname(here) or ".")


def _outside_code(text: str, change: Callable[[str], str]) -> str:
    parts = _CODE.split(text)
    # Each piece of code is followed by its fence, which is a group of its own and no part of the text.
    return "".join(
        change(part) if n % 3 == 0 else part for n, part in enumerate(parts) if part is not None and n % 3 != 2
    )
