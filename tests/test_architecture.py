"""Imports run downwards, each thing has one owner, no file is long."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "landed_jax"
# From low to high, as docs/architecture.md draws them. A module may import its own layer and those before it.
LAYERS = (
    "errors intervals plotted printable processes exchange reruns shapes files tables",
    "numerics mesh",
    "nn",
    "tokenizer_errors tokens vocabulary",
    "prompts prompt_lines",
    "provenance",
    "results.axes",
    "results.result",
    "trace",
    "automatic_axes",
    "forward_pass trace_padding",
    "results",
    "memory",
    "families checkpoints",
    "analysis.registry",
    "analysis.reads",
    "analysis.writes",
    "analysis.scale",
    "analysis.landing",
    "analysis.basis",
    "analysis.attribution",
    "analysis.reduce",
    "analysis.streaming",
    "analysis",
    "model_programs",
    "model",
    "interventions._intervene interventions._stacks",
    "interventions._mean interventions._measures interventions._neuron_values",
    "interventions._stages",
    "interventions._chunks",
    "interventions._runs interventions._saved interventions._neuron_values",
    "interventions._sweep interventions._gradients",
    "interventions._effects_table interventions._path",
    "interventions",
    "generation._cache generation._choose generation._limits generation._generation",
    "generation",
    "loading manifest",
    "planning",
    "tasks",
    "testbed parity",
    "circuits",
    "methods",
    "patching._aligned patching._patching",
    "patching._asked patching._components patching._maps",
    "patching._activation_patching",
    "patching",
    "roles",
    "comparison._bootstrap comparison._correlation comparison._levels comparison._evidence comparison._finished",
    "comparison._curves comparison._baselines comparison._truth",
    "comparison._kept comparison._scoring comparison._rows comparison._settings",
    "comparison._values",
    "comparison._work",
    "comparison",
    "claims",
    "studies",
    "plots",
    "report",
    "page",
    "cli",
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names.split()}


def rank_of(module: str) -> int:
    """The layer of the longest listed name that begins the module's."""
    parts = module.removeprefix("landed_jax.").split(".")
    names = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
    return next(RANK[name] for name in names if name in RANK)


def imports(path: Path) -> list[str]:
    """The package's modules that a file imports when it is imported: not those inside functions."""
    found: list[str] = []

    def look(nodes: list[ast.stmt]) -> None:
        for node in nodes:
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("landed_jax."):
                found.append(node.module)
            elif isinstance(node, ast.Import):
                found.extend(alias.name for alias in node.names if alias.name.startswith("landed_jax."))
            elif isinstance(node, ast.ClassDef | ast.Try):
                look(node.body)

    look(ast.parse(path.read_text()).body)
    return found


MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.name != "__init__.py"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_downwards(path: Path) -> None:
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for imported in imports(path):
        if module == "landed_jax.analysis.registry" and imported == "landed_jax.analysis":
            continue  # for its folder's path alone
        assert rank_of(imported) <= rank_of(module), f"{module} imports {imported}, which stands above it"


@pytest.mark.parametrize(
    ("pattern", "folders", "owner"),
    [
        (r"\bW_O\b|\bW_down\b|\bb_O\b|\bb_down\b", ("analysis", "report"), "nn/layer_writes.py"),
        # What orders a program for one compiler.
        (
            r"optimization_barrier|cast_late|computed_once|\bon_cpu\b|\bafter\(|default_backend",
            ("analysis", "report"),
            "nn",
        ),
        (
            r"model_type",
            ("nn", "analysis", "report", "results", "memory", "testbed", "parity", "cli"),
            "checkpoints/hf",
        ),
    ],
)
def test_each_thing_has_one_owner(pattern: str, folders: tuple[str, ...], owner: str) -> None:
    for folder in folders:
        for path in (PACKAGE / folder).rglob("*.py"):
            found = re.search(pattern, path.read_text())
            assert found is None, f"{path.relative_to(PACKAGE)} has {found and found[0]}, which belongs to {owner}"


def test_no_file_is_long() -> None:
    for path in [*PACKAGE.rglob("*.py"), *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]:
        assert len(path.read_text().splitlines()) <= 400, path
