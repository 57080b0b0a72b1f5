"""The headings of docs/symptoms.md are sentences that their examples print."""

import re

import pytest

from tests.docs.pages import text_of

SECTIONS = re.split(r"^### ", text_of("docs/symptoms.md"), flags=re.MULTILINE)[1:]
RAISED = re.compile(r"^landed_jax\.errors\.\w+: (.+)$", re.MULTILINE)


@pytest.mark.parametrize("section", SECTIONS, ids=[section[:30] for section in SECTIONS])
def test_a_heading_is_what_its_example_prints(section: str) -> None:
    """The examples are doctests, and a doctest fails unless the exception's text is the one shown."""
    heading = section.partition("\n")[0]
    [message] = RAISED.findall(section)
    assert heading in message
    # What `...` leaves out is not in the heading: each of its words has been compared.
    assert "..." not in heading
