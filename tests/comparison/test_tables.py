"""`landed compare`'s tables: on a terminal of 80 columns, and as Markdown for the documentation."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import compare_tables, markdown
from landed_jax.comparison import Curve, correlation, kept_counts
from landed_jax.comparison._compare import TaskComparison
from landed_jax.comparison._rows import LevelComparison, MethodFacts, row_of
from landed_jax.comparison._settings import Settings
from landed_jax.report.comparison import comparison_document, comparison_report
from landed_jax.tables.draw import text_of
from landed_jax.tables.screen import Screen
from landed_jax.tasks import Kept

LONG = "attribution patching with integrated gradients"


def found(changes: float = 3.0) -> TaskComparison:
    """Of made-up numbers, a method with a long name and without tokens; `changes` is what ablating everything does."""
    random, fractions = np.random.default_rng(0), (0.5, 1.0)
    whole = np.full(4, 5.0)
    values = np.stack([np.stack([whole - changes / 2, whole])] * 3)
    effects = random.normal(size=(4, 6))
    row = row_of(LONG, correlation(effects, effects), fractions, 6, values, whole, whole - changes)
    level = LevelComparison("heads", "zero", 6, 6, "all MLPs", (row,))
    kept = Kept((), (), (), (), (), np.zeros(0), drawn=9, single_tokens=8, aligned=7, answered=4)
    facts = MethodFacts(LONG, "a paper, 2024", "", 2.5, None, None)
    assert isinstance(row.by_score, Curve) and kept_counts(6, fractions).tolist() == [3, 6]
    return TaskComparison("places", kept, Settings(fractions=fractions, draws=20), (facts,), (level,), {})


@pytest.mark.quick
def test_long_names_fit_and_columns_that_do_not_are_named() -> None:
    document = comparison_document("model", Settings(), [found()])
    lines = text_of(comparison_report(document), Screen(80)).splitlines()
    assert max(map(len, lines)) <= 80 and any("0.38" in line for line in lines)
    assert all(word in " ".join(lines) for word in LONG.split())


def test_markdown_tables_go_into_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, page = tmp_path / "found.json", tmp_path / "compare.md"
    file.write_text(json.dumps(comparison_document("model", Settings(), [found()])))
    same, other = (f"### model: {task} (heads; zero ablation)" for task in ("places", "facts"))
    page.write_text(f"before\n{markdown.BEGIN}\n\n{same}\n\nold\n\n{other}\n\nkept\n{markdown.END}\nafter\n")
    monkeypatch.setattr(markdown, "DOCS", tmp_path)
    assert compare_tables.run([str(file), "--page"]) == compare_tables.run([str(file), "--page"]) == 0
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    assert text.count(same) == 1 and f"{other}\n\nkept\n" in text
    # f is 1/2 at half of the components and 1 at all: an area of 3/8.
    assert f"| {LONG} | 1.00 (1.00 to 1.00) |" in text and "| 0.38 (0.38 to 0.38) |" in text


def test_where_ablating_everything_changes_nothing_there_is_no_faithfulness() -> None:
    [row] = comparison_document("model", Settings(), [found(0.0)])["tasks"][0]["levels"][0]["rows"]
    assert row["faithfulness_by_score"] == [None, None] and row["cpr"]["estimate"] is None
