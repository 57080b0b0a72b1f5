"""The page as one HTML text: data, style and scripts inside it, and a policy that forbids everything else."""

import base64
import hashlib
import html
import importlib.metadata
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from landed_jax.errors import LandedError
from landed_jax.files.atomic_file import write_file
from landed_jax.page._packages import drawing_script
from landed_jax.page._results import page_data
from landed_jax.printable import printable

_BROWSER = Path(__file__).parent / "browser"
_SCRIPTS = ("format", "frames", "tables", "charts", "figures", "blocks", "page")  # each uses those before it


def page(documents: Mapping[str, Any] | Sequence[Mapping[str, Any]], title: str | None = None) -> str:
    """One page of one or several results, as HTML.

    Args:
        documents: JSON objects of ``landed run``, ``ablate``, ``patch``, ``compare`` or ``study``, as ``--json`` writes
            them and `Account.to_dict` gives them. Total effects join the accounts that ask the same.
        title: of the page; by default what the first result is about.

    Raises:
        LandedError: for what is no such document, and where the extra `page` is not installed.

    >>> asked = {"model": "", "prompt": "a", "tokens": ["a"], "token_ids": [1], "position": 0, "against": None}
    >>> sweep = asked | {"target": {"id": 2, "text": "b"}, "ablation": "zero", "value": 0.5, "components": []}
    >>> page(sweep, "Nothing was removed").splitlines()[8]
    '<title>Nothing was removed</title>'
    """
    several = [documents] if isinstance(documents, Mapping) else list(documents)
    if not several:
        raise LandedError("A page shows at least one result, and there is none.")
    data = page_data(several)
    title = None if title is None else printable(title)
    library, script = drawing_script(), _script()
    parts = {
        "policy": _policy(library, script),
        "title": html.escape(title or data["results"][0]["title"]),
        "heading": html.escape(title or "Landed writes"),
        "style": (_BROWSER / "page.css").read_text("utf-8"),
        "version": html.escape(importlib.metadata.version("landed-jax")),
        "data": _as_data(data),
        "library": library,
        "script": script,
    }
    return Template((_BROWSER / "template.html").read_text("utf-8")).substitute(parts)


def save_page(
    path: str | os.PathLike[str], documents: Mapping[str, Any] | Sequence[Mapping[str, Any]], title: str | None = None
) -> None:
    """Write `page` to a file, which appears complete or not at all.

    Raises:
        LandedError: as `page` does, and for a file that cannot be written.
    """
    write_file(path, page(documents, title).encode("utf-8"))


def _script() -> str:
    parts = [(_BROWSER / f"{name}.js").read_text("utf-8") for name in _SCRIPTS]
    return '"use strict";\n(() => {\n' + "\n".join(parts) + "})();\n"


def _policy(*scripts: str) -> str:
    """Nothing but these very scripts runs, and nothing is fetched or sent."""
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


def _as_data(data: Mapping[str, Any]) -> str:
    r"""JSON that HTML reads as text, whatever stands in it.

    >>> print(_as_data({"token": "</script>"}))
    {"token":"\u003c/script\u003e"}
    """
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")
