"""One run of several prompts, as JSON and as a page; and a browser."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from landed_jax.cli.commands import status_of
from tests.page.chromium import started

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PROMPTS = (
    {"prompt": "The Colosseum is in the city of"},
    {"prompt": "The Colosseum is in the city of", "target": " Athens"},
    {"prompt": "The keys near the bottle", "target": " are", "against": " is"},
)


@dataclass(frozen=True)
class Run:
    """One command's page and JSON."""

    html: Path
    documents: list[dict[str, Any]]


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("page")
    prompts, lines, html = folder / "prompts.jsonl", folder / "run.jsonl", folder / "run.html"
    prompts.write_text("".join(json.dumps(one) + "\n" for one in PROMPTS))
    asked = ["run", "--prompts", str(prompts), "--lens", "--json", str(lines), "--html", str(html)]
    assert status_of(asked) == 0
    return Run(html, [json.loads(line) for line in lines.read_text().splitlines()])


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    with started() as browser:
        yield browser
