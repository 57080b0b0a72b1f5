"""Docstrings of public names: there is one, and it speaks of arguments that exist."""

import inspect
import pkgutil
import re
from types import ModuleType
from typing import Any

import pytest

import landed_jax as landed
from tests.docs.pages import PAGES, prose_of

NAMESPACES = [landed, *(value for name in landed.__all__ if isinstance(value := getattr(landed, name), ModuleType))]
PUBLIC = {
    f"{module.__name__}.{name}": value
    for module in NAMESPACES
    for name in module.__all__
    if not isinstance(value := getattr(module, name), ModuleType)
}
FUNCTIONS = {name: value for name, value in PUBLIC.items() if inspect.isroutine(value) or inspect.isfunction(value)}
METHODS = {
    f"{name}.{method}": value
    for name, kind in PUBLIC.items()
    if inspect.isclass(kind)
    for method, value in vars(kind).items()
    if inspect.isfunction(value) and not method.startswith("_")
}
NAMED = re.compile(r"`landed(?:_jax)?((?:\.[A-Za-z_]\w*)+)")
ITEM = re.compile(r"^    (\*{0,2}\w+(?:, \*{0,2}\w+)*):", re.MULTILINE)


@pytest.mark.parametrize("name", [name for name, value in PUBLIC.items() if callable(value)])
def test_a_public_name_says_what_it_is(name: str) -> None:
    assert inspect.getdoc(PUBLIC[name])


@pytest.mark.parametrize("name", [*FUNCTIONS, *METHODS])
def test_described_arguments_exist(name: str) -> None:
    function: Any = {**FUNCTIONS, **METHODS}[name]
    _, _, after = (inspect.getdoc(function) or "").partition("\nArgs:\n")
    described = ITEM.findall(re.split(r"\n(?=\S)", after)[0])
    names = {argument.strip("*") for item in described for argument in item.split(", ")}
    assert names <= set(inspect.signature(function).parameters), name


@pytest.mark.parametrize("page", [page for page in PAGES if page != "CHANGELOG.md"])
def test_names_in_pages_exist(page: str) -> None:
    """The site makes links of them."""
    for name in NAMED.findall(prose_of(page)):
        assert pkgutil.resolve_name(f"landed_jax{name}") is not None
