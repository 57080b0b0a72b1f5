"""The reference: one page for each public namespace, with every name of its stub."""

import ast
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
PACKAGE = "landed_jax"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Puts the pages into the navigation's group."""
    group = next(group for group in config.nav or [] if "Reference" in group)
    group["Reference"] = [{_title(name): f"reference/{name}.md"} for name in [PACKAGE, *namespaces()]]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for name, module in {PACKAGE: PACKAGE, **namespaces()}.items():
        files.append(File.generated(config, f"reference/{name}.md", content=page(name, module)))
    return files


def namespaces() -> dict[str, str]:
    """Modules by the names under which the package shows them.

    >>> namespaces()["attribution"]
    'landed_jax.analysis.attribution'
    """
    return {name: module for name, module in _names(PACKAGE).items() if _folder(module).is_dir()}


def page(name: str, module: str) -> str:
    """A namespace's page. A name that two namespaces show is described in its own one, and linked from the other."""
    own, elsewhere = [], []
    for public, origin in sorted(_names(module).items()):
        if _folder(origin).is_dir():
            continue
        home = next((n for n, m in namespaces().items() if n != name and origin.startswith(f"{m}.")), None)
        if home and public in _names(namespaces()[home]):
            elsewhere.append(f"| [`{public}`]({home}.md#{namespaces()[home]}.{public}) | `landed.{home}` |")
        else:
            own.append(f"::: {module}.{public}\n    options:\n      heading: {public}\n      toc_label: {public}\n")
    doc = ast.get_docstring(ast.parse((_folder(module) / "__init__.py").read_text(encoding="utf-8"))) or ""
    parts = [f"# `{_title(name)}`", doc]
    if name == PACKAGE:
        rows = [f"| [`landed.{n}`]({n}.md) | {_line(m)} |" for n, m in sorted(namespaces().items())]
        parts.append("\n".join(["| namespace | |", "|---|---|", *rows]))
    if elsewhere:
        parts.append("\n".join(["| also here | described in |", "|---|---|", *elsewhere]))
    return "\n\n".join([*parts, *own])


def _names(module: str) -> dict[str, str]:
    """Public names of a namespace, each with the module that has it (or which it is)."""
    folder = _folder(module)
    stub = folder / "__init__.pyi"
    tree = ast.parse((stub if stub.is_file() else folder / "__init__.py").read_text(encoding="utf-8"))
    found: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            base = module if node.level == 1 and not origin else f"{module}.{origin}" if node.level else origin
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                found[alias.asname or alias.name] = inner if _folder(inner).is_dir() else base
    return found


def _folder(module: str) -> Path:
    return ROOT.joinpath(*module.split("."))


def _title(name: str) -> str:
    return "landed" if name == PACKAGE else f"landed.{name}"


def _line(module: str) -> str:
    doc = ast.get_docstring(ast.parse((_folder(module) / "__init__.py").read_text(encoding="utf-8"))) or ""
    return doc.split("\n\n")[0].replace("\n", " ")
