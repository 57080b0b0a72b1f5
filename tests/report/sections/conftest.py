"""One prompt's account with each section alone: a section records what it needs itself."""

from collections.abc import Callable
from functools import cache

import pytest

import landed_jax as landed
from landed_jax.report.account import Account, account_for
from landed_jax.report.sections.section import Section

PROMPT = "The keys near the bottle"

AccountWith = Callable[[Section], Account]


@pytest.fixture(scope="session")
def model() -> landed.Model:
    return landed.load()


@pytest.fixture(scope="session")
def account_with(model: landed.Model) -> AccountWith:
    """The account of the difference between two forms of a verb, with one section."""

    @cache
    def account(section: Section) -> Account:
        return account_for(model, PROMPT, target=" are", against=" is", sections=[section])

    return account
