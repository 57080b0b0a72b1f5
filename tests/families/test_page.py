"""What is said of each family's parity names every family, is under its bar, and stands in the documents as it is."""

import re

import pytest

from landed_jax.families import families, wrappers
from landed_jax.report.parity import FILE, last_measured
from tests.families.page import BARS, PAGE, page

AGAIN = "run `python -m tests.parity`"


def test_every_family_was_measured() -> None:
    assert list(last_measured().found) == [*families(), *wrappers()], AGAIN


@pytest.mark.parametrize("name", [*families(), *wrappers()])
def test_every_error_is_under_its_bar(name: str) -> None:
    parity = last_measured().found[name]
    assert parity.models >= 6
    assert set(BARS) == set(parity._fields) - {"models"}
    for field, bar in BARS.items():
        assert 0 <= getattr(parity, field) <= bar, field


def test_the_page_is_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), f"{AGAIN}, or `python -m tests.families.page` for words alone"


def test_the_file_is_as_it_would_be_written() -> None:
    text = FILE.read_text(encoding="utf-8")
    assert text == last_measured().to_json()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", last_measured().date)
    assert "/" not in text  # no path of a machine
