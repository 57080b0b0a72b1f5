"""The site is built with warnings as errors, asks no other machine for anything, and has every public name."""

import os
import re
import subprocess
import sys
import zlib
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tests.docs.test_reference import PUBLIC

# What a browser fetches by itself. A link waits for a click.
FETCHED = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed|object)\b[^>]*?\b(?:src|data)=["']?(?:https?:)?//[^\s"'>]*"""
    r"""|<link\b(?![^>]*rel=["']?(?:canonical|next|prev))[^>]*?\bhref=["']?(?:https?:)?//[^\s"'>]*"""
    r"""|url\(["']?(?:https?:)?//|@import\s+["'](?:https?:)?//"""
)


@pytest.mark.parametrize(
    "markup",
    [
        '<script async src="https://cdn.example/x.js">',
        "<img alt='' src=//cdn.example/x.png>",
        '<link href="https://fonts.example/css" rel="stylesheet">',
        "@font-face{src:url(https://fonts.example/x.woff2)}",
        '@import "https://fonts.example/x.css"',
    ],
)
def test_what_a_browser_fetches_is_seen(markup: str) -> None:
    assert FETCHED.search(markup)
    assert not FETCHED.search(markup.replace("https:", "").replace("//", "../"))


def named(site: Path) -> set[str]:
    """The names that the reference describes, from its index of them."""
    index = zlib.decompress((site / "objects.inv").read_bytes().split(b"\n", 4)[4]).decode()
    return {line.split(" ")[0] for line in index.splitlines()}


@pytest.mark.skipif(
    any(find_spec(name) is None for name in ("material", "mkdocstrings_handlers", "latex2mathml")),
    reason="MkDocs and its parts are not installed (extra `docs`)",
)
def test_the_site(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")

    pages = {
        path.relative_to(tmp_path).as_posix(): path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.html")
    }
    styles = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.css")}
    fetched = {name: found for name, text in {**pages, **styles}.items() if (found := FETCHED.findall(text))}
    assert fetched == {}

    described = named(tmp_path)
    front = pages["reference/landed_jax.html"]
    for name, value in PUBLIC.items():
        short = name.rpartition(".")[2]
        origin = f"{getattr(value, '__module__', '')}.{short}"
        assert {name, origin} & described, f"{name} is not in the reference"
        assert name != f"landed_jax.{short}" or re.search(rf"\b{short}\b", front)

    assert "arithmatex" not in "".join(pages.values()) and pages["concepts.html"].count("<math") > 30
    assert "$$" not in re.sub(r"<(pre|code)\b.*?</\1>", "", "".join(pages.values()), flags=re.DOTALL)

    listed = (tmp_path / "llms.txt").read_text(encoding="utf-8")
    targets = re.findall(r"^- \[.+\]\((.+?)\): .+$", listed, flags=re.MULTILINE)
    assert len(targets) == len(set(targets)) == listed.count("\n- ") and set(targets) <= set(pages)
    assert (tmp_path / "llms-full.txt").read_text(encoding="utf-8").count("<!-- ") >= 30
