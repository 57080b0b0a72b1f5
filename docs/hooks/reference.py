"""The reference: one page for each public namespace, with every name of its stub."""

import ast
import functools
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
PACKAGE = "landed_jax"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Puts the pages into the navigation's group."""
    group = next(group for group in config.nav or [] if "Reference" in group)
    group["Reference"] = [{_title(name): f"reference/{name}.md"} for name in [PACKAGE, *sorted(namespaces())]]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for name in [PACKAGE, *namespaces()]:
        files.append(File.generated(config, f"reference/{name}.md", content=page(name)))
    return files


@functools.cache
def namespaces() -> dict[str, str]:
    """Modules by the names under which the package shows them.

    >>> namespaces()["attribution"]
    'landed_jax.analysis.attribution'
    """
    return {name: origin for name, origin in _names(PACKAGE).items() if _folder(origin).is_dir()}


@functools.cache
def addresses() -> dict[str, str]:
    """Page and anchor of every public name, as users write it.

    >>> addresses()["landed.attribute"]
    'reference/attribution.md#landed_jax.analysis.attribution.attribute'
    """
    found = {_title(name): f"reference/{name}.md" for name in [PACKAGE, *namespaces()]}
    for name, module in {PACKAGE: PACKAGE, **namespaces()}.items():
        for public in _functions(module):
            home = _home(name, public)
            found[f"{_title(name)}.{public}"] = f"reference/{home}.md#{_path(home, public)}"
    return found


def page(name: str) -> str:
    """A namespace's page. A name that two namespaces show is described in its own one, and linked from the other."""
    module, own, elsewhere = _module(name), [], []
    for public in sorted(_functions(module)):
        if (home := _home(name, public)) == name:
            options = f"    options:\n      heading: {public}\n      toc_label: {public}\n"
            own.append(f"::: {_path(name, public)}\n{options}")
        else:
            elsewhere.append(f"| [`{public}`]({home}.md#{_path(home, public)}) | `{_title(home)}` |")
    parts = [f"# `{_title(name)}`", _doc(module)]
    if name == PACKAGE:
        rows = [f"| [`{_title(n)}`]({n}.md) | {_line(m)} |" for n, m in sorted(namespaces().items())]
        parts.append("\n".join(["| namespace | |", "|---|---|", *rows]))
    if elsewhere:
        parts.append("\n".join(["| also here | described in |", "|---|---|", *elsewhere]))
    return "\n\n".join([*parts, *own])


def _home(name: str, public: str) -> str:
    """The namespace whose module has what another one shows too; the namespace itself where none has."""
    origin = _names(_module(name))[public]
    for other, module in namespaces().items():
        if other != name and origin.startswith(f"{module}.") and public in _names(module):
            return other
    return name


def _path(name: str, public: str) -> str:
    """How a public name is looked up: by its origin where a folder of the namespace has the same name."""
    path = f"{_module(name)}.{public}"
    return _names(_module(name))[public] if _folder(path).is_dir() else path


def _functions(module: str) -> list[str]:
    return [public for public, origin in _names(module).items() if not _folder(origin).is_dir()]


@functools.cache
def _names(module: str) -> dict[str, str]:
    """Public names of a namespace, each with where it is defined: a module's name, or a namespace's own."""
    folder = _folder(module)
    stub = folder / "__init__.pyi"
    tree = ast.parse((stub if stub.is_file() else folder / "__init__.py").read_text(encoding="utf-8"))
    found: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            origin = ".".join(filter(None, [module if node.level else "", node.module]))
            for alias in node.names:
                found[alias.asname or alias.name] = f"{origin}.{alias.name}"
    return found


def _module(name: str) -> str:
    return PACKAGE if name == PACKAGE else namespaces()[name]


def _folder(module: str) -> Path:
    return ROOT.joinpath(*module.split("."))


def _title(name: str) -> str:
    return "landed" if name == PACKAGE else f"landed.{name}"


def _doc(module: str) -> str:
    return ast.get_docstring(ast.parse((_folder(module) / "__init__.py").read_text(encoding="utf-8"))) or ""


def _line(module: str) -> str:
    return " ".join(_doc(module).split("\n\n")[0].split())
