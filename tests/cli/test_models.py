"""`landed models`: every family, with words for every switch."""

import pytest

from landed_jax.cli.commands import status_of
from landed_jax.families import families, wrappers


@pytest.mark.quick
def test_all_families_are_listed_with_their_switches(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "500")
    assert status_of(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for family in families().values():
        row = next(line for line in lines if line.startswith(f"{family.name} "))
        assert family.architecture in row and family.examples[0] in row
        assert len(row.split(family.architecture)[1].split(", ")) == len(family.held)
    for wrapper in wrappers().values():
        row = next(line for line in lines if line.startswith(f"{wrapper.name} "))
        assert wrapper.architecture in row and wrapper.examples[0] in row
        assert " or ".join(wrapper.texts) in row
