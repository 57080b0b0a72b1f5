"""Every block of Python in a page runs: those with `>>>` are doctests, which pytest collects; here are the others."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import pytest

import landed_jax as landed
from tests.docs.pages import PAGES, blocks_of

PLAIN = {
    page: blocks
    for page in PAGES
    if (blocks := [block for block in blocks_of(page) if block.language == "python" and ">>>" not in block.text])
}


def given(page: str) -> dict[str, Any]:
    """What a page takes its reader to have."""
    if page != "README.md":
        return {}
    model = landed.load()
    prompt = "The Colosseum is in the city of"
    return {
        "prompt": prompt,
        "vector": jnp.ones(model.config.head_dim),
        "probe": jnp.ones(model.config.d_model),
        "params": model.params,
        "config": model.config,
        "tokens": model.encode(prompt),
        "ids": model.vocabulary.token_id(" Rome") if model.vocabulary else None,
    }


SLOW = {"README.md": pytest.mark.slow}  # nearly every function of the package is compiled


@pytest.mark.parametrize("page", [pytest.param(page, marks=SLOW.get(page, ())) for page in PLAIN])
def test_plain_blocks_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = given(page)
    for block in PLAIN[page]:
        exec(compile("\n" * (block.line - 1) + block.text, page, "exec"), names)


@pytest.mark.parametrize("page", PAGES)
def test_doctests_are_collected(page: str) -> None:
    """pytest looks for doctests in `docs/`: one that stood elsewhere would never run."""
    doctests = [block for block in blocks_of(page) if block.text.lstrip().startswith(">>>")]
    assert not doctests or page.startswith("docs/")
    assert all(block.language == "python" for block in doctests)


@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="mkdocs is not installed (extra `docs`)")
def test_a_notebook_is_a_page_without_html_of_its_own() -> None:
    from docs.hooks.outside import page_of

    picture = {"data": {"image/png": "iVBO\nRw0K", "text/plain": ["<Figure>"]}}
    table = {"data": {"text/html": ["<script src=x>"], "text/plain": ["a table"]}}
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "text"]},
        {"cell_type": "code", "source": ["x = 1"], "outputs": [picture, table, {"text": ["printed"]}]},
    ]
    shown = page_of("notebooks/x.ipynb", json.dumps({"cells": cells}))
    assert shown.startswith("# Title\ntext\n\n````python\nx = 1\n````")
    assert "base64,iVBORw0K" in shown and "a table" in shown and "printed" in shown and "script" not in shown
