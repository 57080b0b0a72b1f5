"""What holds for every section, each found by the registry and run alone."""

import dataclasses
import json
from pathlib import Path

import pytest

import landed_jax.report.sections as registry
from landed_jax.cli.commands import status_of
from landed_jax.report.dataset import run_dataset
from landed_jax.report.document import run_document
from landed_jax.report.run_report import section_report
from landed_jax.report.sections import sections
from landed_jax.report.sections.section import Section
from landed_jax.results.files import load_result, save_result
from landed_jax.tables.draw import text_of
from landed_jax.tables.screen import Screen
from tests.report.sections.conftest import AccountWith

every_section = pytest.mark.parametrize("section", sections(), ids=lambda section: section.name)


@every_section
def test_the_option_is_in_the_help(section: Section, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(["run", "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.split()[:1] == [section.option]], section.option


@every_section
def test_its_field_is_json_and_comes_behind_the_account(section: Section, account_with: AccountWith) -> None:
    account = account_with(section)
    document = run_document(account, 5)
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    plain = run_document(dataclasses.replace(account, sections={}), 5)
    assert list(document) == [*plain, section.json_field] and section.json_field not in plain


@every_section
def test_its_table_fits_a_terminal(section: Section, account_with: AccountWith) -> None:
    tables = section_report(account_with(section))
    words = set(text_of(tables, Screen(10_000)).split())
    for width in range(40, 201, 5):
        printed = text_of(tables, Screen(width))
        assert printed.strip() and max(map(len, printed.splitlines())) <= width
        # Whole words: no number is cut, no name is broken.
        assert {word for word in printed.split("Left out")[0].split() if word[0] in "+-0123456789"} <= words
        assert width < 80 or ("…" not in printed and "Left out" not in printed)


@every_section
def test_its_results_are_variables_and_come_back(section: Section, account_with: AccountWith, tmp_path: Path) -> None:
    account = account_with(section)
    dataset = run_dataset(account)
    for name in account.sections[section]:
        path = f"{section.name}.{name}"
        assert [v for v in dataset.data_vars if v == path or str(v).startswith(f"{path}.")], path
    save_result(dataset, tmp_path / "run.nc")
    assert load_result(tmp_path / "run.nc").identical(dataset)


@every_section
def test_what_it_says_of_its_results_is_of_results_that_are_there(section: Section, account_with: AccountWith) -> None:
    found = account_with(section).sections[section]
    arrays = {name for name, result in found.items() if not dataclasses.is_dataclass(result)}
    assert set(section.axes) == arrays and set(section.derived) <= set(found)
    assert set(section.coordinates) <= set(run_dataset(account_with(section)).dims)


def test_names_options_and_fields_are_unique() -> None:
    for names in zip(*((s.name, s.option, s.json_field) for s in sections()), strict=True):
        assert len(set(names)) == len(names)


def test_the_order_is_by_place_and_then_by_name() -> None:
    assert [section.name for section in sections()][:4] == ["by_source", "effects", "coordinates", "lens"]
    order = [(section.place, section.name) for section in sections()]
    assert order == sorted(order)


def test_a_file_in_the_folder_is_a_section(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("zebra", "ant"):
        (tmp_path / f"{name}_of_a_test.py").write_text(
            "from landed_jax.report.sections.section import Section\n"
            f"SECTION = Section({name!r}, '', lambda _: {{}}, {name!r}, lambda *_: None, lambda *_: [])\n"
        )
    monkeypatch.setattr(registry, "__path__", [*registry.__path__, str(tmp_path)])
    found = [section.name for section in sections.__wrapped__()]  # without the cache
    added = [name for name in found if name in ("ant", "zebra")]
    assert added == ["ant", "zebra"]
    assert [name for name in found if name not in added] == [section.name for section in sections()]
    assert found[:4] == [section.name for section in sections()][:4]
