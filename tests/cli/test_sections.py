"""`landed run --by-source --effects --coordinates --lens --out`: each number against the plain JSON, or made anew."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import landed_jax as landed
from landed_jax.cli.commands import status_of
from landed_jax.report.account import Account, account_for
from landed_jax.report.dataset import run_dataset
from landed_jax.report.document import run_document
from landed_jax.report.section_documents import NAMES
from landed_jax.report.section_tables import section_report
from landed_jax.report.sections import SECTIONS
from landed_jax.results.files import load_result, save_result

PROMPT = "The keys near the bottle"


@pytest.fixture(scope="module")
def model() -> landed.Model:
    return landed.load()


@pytest.fixture(scope="module")
def account(model: landed.Model) -> Account:
    return account_for(model, PROMPT, target=" are", against=" is", sections=frozenset(SECTIONS))


@pytest.fixture(scope="module")
def document(account: Account) -> dict:
    return json.loads(json.dumps(run_document(account, 5), allow_nan=False))


def test_the_contract_stays_and_sections_come_behind_it(model: landed.Model, document: dict) -> None:
    plain = run_document(account_for(model, PROMPT, target=" are", against=" is"), 5)
    assert list(document) == [*plain, *(NAMES[name] for name in SECTIONS)]
    assert not set(NAMES.values()) & set(plain)


def test_sources_sum_to_heads(document: dict) -> None:
    found = document["by_source"]
    split = np.array(found["heads"])
    bar = 1e-5 * abs(document["logit"])
    np.testing.assert_allclose(split.sum(-1), document["heads"], atol=bar)
    np.testing.assert_allclose(split.sum((0, 1)), found["tokens"], atol=bar)
    assert split.shape[-1] == len(document["tokens"]) and found["closure_error"] <= bar
    assert document["tokens"][int(np.argmax(found["tokens"]))] == " keys"  # the subject decides the number


def test_the_lens_ends_at_the_logit(document: dict) -> None:
    rows, bar = document["lens"], 1e-5 * abs(document["logit"])
    assert [row["site"] for row in rows] == [row["site"] for row in document["scale"]]
    for variant in ("own_sigma", "final_sigma"):
        assert abs(rows[-1][variant] - document["logit"]) <= bar
    np.testing.assert_allclose(
        np.cumsum([row["landed"] for row in rows]), [row["final_sigma"] for row in rows], atol=bar
    )
    assert rows[0]["landed"] == pytest.approx(document["embedding"], abs=bar)
    sigma = [row["sigma"] for row in document["scale"]]
    np.testing.assert_allclose(
        [row["own_sigma"] * s for row, s in zip(rows, sigma, strict=True)],
        [row["final_sigma"] * sigma[-1] for row in rows],
        rtol=1e-4,
        atol=bar,
    )


def test_coordinates_are_checked(model: landed.Model, document: dict) -> None:
    found, check = document["coordinate_detail"], document["coordinate_detail"]["causal_check"]
    assert all(found["settled"][key] >= document["coordinates"][key] for key in ("for_50", "for_90", "for_99"))
    assert check["coordinates"] == found["settled"]["for_90"]
    bar = 1e-5 * abs(document["logit"])
    assert abs(check["whole"]["value"] - document["logit"]) <= bar
    assert abs(check["kept"]["value"] + check["ablated"]["value"] - document["logit"]) <= bar
    assert abs(check["kept"]["value"] - document["logit"]) <= 0.1 * abs(document["logit"]) + bar
    logits = np.asarray(model.trace(PROMPT, at=-1).logits[0, 0])
    assert check["whole"]["rank"] == int((logits > logits[document["target"]["id"]]).sum())


def test_effects_are_the_measures_of_each_value_alone(model: landed.Model, document: dict) -> None:
    trace = model.trace(PROMPT, at=-1)
    found = document["effects"]["landed_against_direct"]
    assert list(found) == ["logit", "centred logit", "logit difference", "log-probability"]
    arguments = {
        "logit": {"target": " are"},
        "centred logit": {"target": " are", "centred": True},
        "logit difference": {"target": " are", "against": " is"},
    }
    for name, asked in arguments.items():
        shares = landed.attribute(trace, **asked)
        for part in ("heads", "neurons"):
            mine, theirs = (np.asarray(getattr(x, part)).ravel() for x in (shares.landed, shares.direct_effect))
            nmae = np.abs(mine - theirs).sum() / np.abs(theirs).sum()
            assert found[name][part]["nmae"] == pytest.approx(nmae, rel=1e-3)
            assert found[name][part]["correlation"] == pytest.approx(np.corrcoef(mine, theirs)[0, 1], abs=1e-3)
    assert document["effects"]["against"] == document["against"]
    assert document["effects"]["volume_of"] == "logit difference"
    loud = document["effects"]["volume"]
    assert [row["score"] for row in loud] == sorted((row["score"] for row in loud), reverse=True)


def test_tables_fit_a_narrow_terminal(account: Account) -> None:
    for width in (80, 120):
        console = Console(width=width, file=io.StringIO())
        console.print(section_report(account))
        printed = console.file.getvalue()
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
    assert json.loads(dataset.attrs["config"]) == account.config.to_dict()
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
