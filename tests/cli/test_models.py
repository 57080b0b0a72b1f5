"""`landed models` and `landed info`: every family at every width, with words for every switch and its errors."""

import json
from pathlib import Path

import pytest

from landed_jax.checkpoints.hf.gate import config_from_hf
from landed_jax.cli.commands import status_of
from landed_jax.families import families, wrappers
from landed_jax.report.families_table import families_table
from landed_jax.report.switches import SWITCHES, switch_facts

WELL_KNOWN = Path(__file__).parents[1] / "families" / "well_known.json"


@pytest.mark.quick
@pytest.mark.parametrize("width", [80, 40, 200, 400])
def test_all_families_are_listed(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert status_of(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    table = families_table()
    shown = " ".join(" ".join(lines).split())
    for row in table.rows:
        rows = [line for line in lines if line.split(" ")[0] == row[0]]
        assert rows and all(error in "".join(rows) for error in row[4:8])
        if width >= 200:
            assert str(row[1]) in shown and all(str(example) in shown for example in str(row[8]).split(", "))
    left_out = {40: 3, 80: 2}.get(width, 0)
    assert ("Left out at this width" in shown) == bool(left_out)


def test_a_row_has_every_switch_of_its_family() -> None:
    words = {field: words for switch in SWITCHES for field, words in switch.fields.items()}
    rows = {str(row[0]): row for row in families_table().rows}
    assert list(rows) == [*families(), *wrappers()]
    for family in families().values():
        said = {words[field] for field in family.held if field in words}  # sizes and activations need none
        assert set(str(rows[family.name][2]).split(", ")) == said
    for wrapper in wrappers().values():
        assert " or ".join(wrapper.texts) in str(rows[wrapper.name][2])


def test_info_says_each_switch_of_a_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    known = json.loads(WELL_KNOWN.read_text(encoding="utf-8"))["accepted"]["google/gemma-2-27b"]["config"]
    (tmp_path / "config.json").write_text(json.dumps(known))
    assert status_of(["info", str(tmp_path)]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    facts = switch_facts(config_from_hf(known))
    assert len(facts) == 7
    assert set(lines) >= {f"{name} {words}" for name, words in facts}
