"""All sections of `landed run` together, and `--out`. Each section's numbers: `tests/report/sections/`."""

import json
from pathlib import Path

import numpy as np
import pytest

import landed_jax as landed
from landed_jax.cli.commands import status_of
from landed_jax.nn.config import ModelConfig
from landed_jax.report.account import Account, account_for
from landed_jax.report.dataset import run_dataset
from landed_jax.report.document import run_document
from landed_jax.report.run_report import section_report
from landed_jax.report.sections import sections
from landed_jax.results.files import load_result, save_result
from landed_jax.tables.draw import text_of
from landed_jax.tables.screen import Screen

PROMPT = "The keys near the bottle"


@pytest.fixture(scope="module")
def model() -> landed.Model:
    return landed.load()


@pytest.fixture(scope="module")
def account(model: landed.Model) -> Account:
    return account_for(model, PROMPT, target=" are", against=" is", sections=sections())


@pytest.fixture(scope="module")
def document(account: Account) -> dict:
    return json.loads(json.dumps(run_document(account, 5), allow_nan=False))


def test_the_contract_stays_and_sections_come_behind_it(model: landed.Model, document: dict) -> None:
    plain = run_document(account_for(model, PROMPT, target=" are", against=" is"), 5)
    assert list(document) == [*plain, *(section.json_field for section in sections())]
    assert list(document)[len(plain) :][:4] == ["by_source", "effects", "coordinate_detail", "lens"]


def test_tables_fit_a_narrow_terminal(account: Account) -> None:
    for width in (80, 120):
        printed = text_of(section_report(account), Screen(width))
        assert "…" not in printed and max(map(len, printed.splitlines())) <= width
        for shown in (
            "by source token",
            "random bases",
            "Writes that act on the logit difference through σ",
            "Logit lens",
        ):
            assert shown in printed


def test_the_dataset_holds_it_all_and_comes_back(account: Account, document: dict, tmp_path: Path) -> None:
    dataset = run_dataset(account)
    heads = dataset["attribution.landed.heads"].sel(batch=0, position=len(document["tokens"]) - 1)
    np.testing.assert_allclose(heads.transpose("layer", "head"), document["heads"], rtol=1e-6)
    lens = dataset["lens.values.final_sigma"].sel(site="final").item()
    assert lens == pytest.approx(document["lens"][-1]["final_sigma"])
    assert dataset["lens.values.final_sigma_contributions"].sel(group="embedding").item() == pytest.approx(
        document["lens"][0]["landed"]
    )
    settled = dataset["coordinates.settled"].sel(fraction=0.9).item()
    assert settled == document["coordinate_detail"]["settled"]["for_90"]
    assert list(dataset["source_token"].values[0]) == document["tokens"]
    assert dataset.attrs["model"] == "bundled" and dataset.attrs["prompt"] == PROMPT
    for name in ("target", "against"):
        assert {"id": dataset.attrs[f"{name}_id"], "text": dataset.attrs[name]} == document[name]
    assert ModelConfig.from_dict(json.loads(dataset.attrs["config"])) == account.config
    nmae = document["effects"]["landed_against_direct"]["log-probability"]["neurons"]["nmae"]
    assert dataset["effects.log-probability.neurons.nmae"].item() == pytest.approx(nmae)
    save_result(dataset, tmp_path / "run.nc")
    assert load_result(tmp_path / "run.nc").identical(dataset)


def test_out_is_checked_before_the_work(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for bad in (tmp_path / "no" / "x.nc", tmp_path, tmp_path / "x.txt"):
        assert status_of(["run", PROMPT, "--model", "/no/such/model", "--out", str(bad)]) == 2
        said = capsys.readouterr()
        assert said.out == "" and len(said.err.splitlines()) == 1 and "/no/such/model" not in said.err


def test_out_writes_a_file_beside_the_table(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert status_of(["run", PROMPT, "--top", "1", "--out", str(tmp_path / "run.nc")]) == 0
    assert "logit" in capsys.readouterr().out
    assert load_result(tmp_path / "run.nc").attrs["target"] == landed.load().vocabulary.text(
        int(load_result(tmp_path / "run.nc")["attribution.target"].item())
    )
