"""``python -m tests.families.page``: docs/families.md, the table of `landed models` with all its columns."""

from pathlib import Path

from landed_jax.report.families_table import families_table
from landed_jax.tables.table import Table

PAGE = Path(__file__).parents[2] / "docs" / "families.md"
BARS = {"logits_float32": 2e-5, "logits_float64": 1e-10, "closure": 1e-11, "direct_effects": 1e-9}
"""What the errors may be at most."""

_HEAD = """# Model families

What `landed models` lists. A family's *switches* are the fields of
[`ModelConfig`](../landed_jax/nn/config.py) in which it may differ from Llama; `landed info MODEL` says which of
them are on in a model, and what they are set to. The last rows are checkpoints that hold a family's text model
beside other parts, which are left out.

The [models measured](../tests/parity/cases.py) are tiny random ones of `transformers`, at least six in a row, that
cover its switches. An error is the largest over all of them and over prompts of unequal length, in units of the
largest value:

| error | of | from | at most |
|---|---|---|---|
| logits, float32 | every real token's logits | those of `transformers` in float32 | {logits_float32:.0e} |
| logits, float64 | the same | those of `transformers` in float64 | {logits_float64:.0e} |
| closure | the sum of landed writes at every norm, in float64 | what the norm put out | {closure:.0e} |
| direct effects | every write's, on each position's top token, in float64 | brute force | {direct_effects:.0e} |

This page and the numbers of `landed models` are written by the command below, which takes a few minutes; after a
change of words alone, by `python -m tests.families.page`. Tests compare both with the registry of families.

```sh
python -m tests.parity
```

"""


def page() -> str:
    """The page's text."""
    table = families_table()
    return _HEAD.format(**BARS) + _markdown(table)


def _markdown(table: Table) -> str:
    titles = [column.name for column in table.columns]
    ends = [":--" if column.left else "--:" for column in table.columns]
    rows = [titles, ends, *table.rows]
    legends = [column.legend for column in table.columns if column.legend]
    return "\n".join([*(f"| {' | '.join(map(str, row))} |" for row in rows), "", *map(str, legends), ""])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
