"""`landed models`: every family at every width, with words for every switch and the errors last measured."""

import pytest

from landed_jax.cli.commands import status_of
from landed_jax.families import families, wrappers
from landed_jax.report.families_table import families_table
from landed_jax.report.switches import SWITCHES


@pytest.mark.quick
@pytest.mark.parametrize("width", [80, 40, 200, 400])
def test_all_families_are_listed(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
<<<<<<< HEAD
    monkeypatch.setenv("COLUMNS", str(width))
=======
    monkeypatch.setenv("COLUMNS", "500")
>>>>>>> main
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
        assert set(str(rows[family.name][2]).split(", ")) == {words[field] for field in family.held}
    for wrapper in wrappers().values():
        assert " or ".join(wrapper.texts) in str(rows[wrapper.name][2])
