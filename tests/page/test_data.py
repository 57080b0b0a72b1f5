"""What a page holds is what the JSON holds; what is no result is refused in a sentence."""

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

import landed_jax as landed
from landed_jax.cli.commands import status_of
from landed_jax.page import page, read_results, save_page
from landed_jax.page._results import page_data
from landed_jax.page.sections import page_sections
from tests.models import CONFIGS, random_params
from tests.page.conftest import PROMPTS, Run
from tests.page.paths import read
from tests.page.stored import STORED


def numbers(data: dict[str, Any], documents: list[dict[str, Any]]) -> int:
    """Compare every number that names its place in the JSON with what stands there; how many they are."""
    compared = 0
    for result, document in zip(data["results"], documents, strict=True):
        known = {result["variable"]: document}
        for section in result["sections"]:
            for frame in section["frames"].values():
                size = len(next(iter(frame["columns"].values()), []))
                rows = [{name: values[at] for name, values in frame["columns"].items()} for at in range(size)]
                for row in rows:
                    for column, path in frame["paths"].items():
                        line = path.format(**row)
                        if line and row[column] is not None:
                            assert row[column] == read(_whole(line, result), known), line
                            compared += 1
            for block in section["blocks"]:
                for name, value, _, path in block.get("items", ()):
                    if path:
                        assert value == read(_whole(path, result), known), name
                        compared += 1
    return compared


def _whole(line: str, result: dict[str, Any]) -> str:
    return result["variable"] + line if line.startswith("[") else line


def embedded(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_every_number_of_a_run_is_in_its_json(run: Run) -> None:
    data = embedded(run.html.read_text("utf-8"))
    heads = sum(len(layer) for document in run.documents for layer in document["heads"])
    assert numbers(data, run.documents) > 6 * heads
    assert data["choices"] == ["Prompt", "Position", "Target"]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "compare" else name for name in STORED]
)
def test_every_number_of_a_stored_result_is_in_its_json(name: str) -> None:
    document = STORED[name]()
    data = page_data([document])
    assert numbers(data, [document] * len(data["results"])) > 10
    assert {result["kind"] for result in data["results"]} == {name}


def test_the_waterfall_ends_at_the_sum_and_opens_into_its_parts(run: Run) -> None:
    for result, document in zip(page_data(run.documents)["results"], run.documents, strict=True):
        frames = next(one for one in result["sections"] if one["name"] == "waterfall")["frames"]
        steps, inside = frames["steps"]["columns"], frames["inside"]["columns"]
        assert steps["end"][-2] == pytest.approx(document["sum_of_landed"], abs=1e-5) and steps["start"][-1] == 0
        assert steps["start"][1:-1] == steps["end"][:-2]
        for layer, part, landed_ in zip(steps["layer"], steps["part"], steps["landed"], strict=True):
            if layer is not None:
                of = [
                    number
                    for number, *at in zip(inside["landed"], inside["layer"], inside["part"], strict=True)
                    if at == [layer, part]
                ]
                assert sum(of) == pytest.approx(landed_, abs=1e-5)


@pytest.mark.parametrize(
    "name", ["experts", *(pytest.param(n, marks=pytest.mark.slow) for n in ("layer_norm", "raw_reads"))]
)
def test_other_models_without_a_tokenizer(name: str) -> None:
    config = CONFIGS[name]
    model = landed.Model.from_params(config, random_params(config))
    document = model.run([1, 2, 3, 4, 5], sections=["by_source", "detail"]).to_dict()
    data = page_data([document])
    assert numbers(data, [document]) > 100
    steps = next(one for one in data["results"][0]["sections"] if one["name"] == "waterfall")["frames"]["steps"]
    assert steps["columns"]["end"][-2] == pytest.approx(document["sum_of_landed"], abs=1e-4)
    # Embeddings, two writes a layer, the sum; and what a LayerNorm's β brings.
    of_norm = config.norm == "layer"
    assert ("β and bias of what reads" in steps["columns"]["step"]) == of_norm
    assert len(steps["columns"]["step"]) == 2 + config.learned_positions + 2 * config.n_layers + of_norm


def generated(run: Run) -> dict[str, Any]:
    """Two tokens generated behind a prompt, as one JSON object."""
    first = run.documents[0]
    fields = ("logit", "sum_of_landed", "closure_error", "runner_up", "top_writes")
    token = {**first["target"], "position": 8, "probability": 0.75, "rank": 0, **{name: first[name] for name in fields}}
    kept = {name: first[name] for name in ("model", "prompt", "tokens", "token_ids", "notes", "precision")}
    how = {"temperature": 0.0, "seed": 0, "text": " Rome.", "finish_reason": "length"}
    return kept | how | {"generated": [token, {**token, "text": ".", "position": 9, "logit": 3.5}]}


def test_generated_tokens_have_an_account_each(run: Run) -> None:
    document = generated(run)
    data = page_data([document])
    assert [result["choice"]["Token"] for result in data["results"]] == ["8 ' Rome'", "9 '.'"]
    assert numbers(data, [document, document]) > 2 * len(document["generated"][0]["top_writes"])
    logits = [result["sections"][0]["blocks"][0]["items"][0][1] for result in data["results"]]
    assert logits == [document["generated"][0]["logit"], 3.5]


def test_an_account_without_sections_says_what_would_bring_them(tmp_path: Path) -> None:
    account = landed.load().run(str(PROMPTS[0]["prompt"]))
    account.save_page(tmp_path / "x.html")
    data = embedded((tmp_path / "x.html").read_text("utf-8"))
    assert numbers(data, [account.to_dict()]) > 100
    texts = [block["text"] for one in data["results"][0]["sections"] for block in one["blocks"] if "text" in block]
    assert all(any(option in text for text in texts) for option in ("--detail", "--by-source", "landed ablate"))


def test_total_effects_join_the_account_that_asks_the_same(run: Run) -> None:
    sweep = STORED["ablate"]()
    joined = page_data([*run.documents, sweep])["results"]
    assert len(joined) == len(run.documents)
    totals = [next(one for one in result["sections"] if one["name"] == "total")["frames"] for result in joined]
    assert [bool(frames) for frames in totals] == [True, False, False]
    other = page_data([run.documents[0], {**sweep, "position": 3}])["results"]
    assert [result["kind"] for result in other] == ["run", "ablate"]


def test_results_that_agree_in_everything_are_numbered(run: Run) -> None:
    data = page_data([run.documents[0], run.documents[0]])
    assert [result["choice"]["Number"] for result in data["results"]] == ["1", "2"]


def test_results_of_several_models_name_them(run: Run) -> None:
    one = run.documents[0]
    data = page_data([one, {**one, "model": "other"}, {**one, "precision": "bfloat16"}])
    assert data["choices"][0] == "Model"
    models = ["bundled, float32", "other, float32", "bundled, bfloat16"]
    assert [result["choice"]["Model"] for result in data["results"]] == models
    drawn = page_data([generated(run), {**generated(run), "temperature": 0.5, "seed": 3}])["results"]
    assert drawn[-1]["choice"]["Drawn"] == "temperature 0.5, seed 3"


def test_the_title_of_a_generated_token_says_where_it_stands(run: Run) -> None:
    titles = [result["title"] for result in page_data([generated(run)])["results"]]
    assert titles[1].startswith("The logit of '.' as the token at position 9, generated after 'The Colosseum")


def test_a_token_that_lowers_a_negative_value_is_not_coloured_as_if_it_raised_it(run: Run) -> None:
    frames = page_data([{**run.documents[0], "logit": -2.0}])["results"][0]["sections"][0]["frames"]
    tokens = frames["tokens"]["columns"]
    assert [part * 2 for part in tokens["share"]] == tokens["landed"]


def test_the_policy_allows_the_pages_own_scripts_and_no_network(run: Run) -> None:
    text = run.html.read_text("utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None and "default-src 'none'" in policy[1]
    allowed = re.findall(r"'sha256-([^']*)'", policy[1])
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in scripts] == allowed
    assert "unsafe-eval" not in policy[1] and not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", text)


def test_what_makes_the_numbers_makes_them(run: Run) -> None:
    data = embedded(run.html.read_text("utf-8"))
    python = data["results"][2]["made"][1][1]
    names: dict[str, Any] = {}
    exec(python, names)
    again = names["run"]
    assert again["heads"] == run.documents[2]["heads"] and again["detail"] == run.documents[2]["detail"]


def test_sections_have_their_own_addresses() -> None:
    for kind in {section.of for section in page_sections()}:
        names = [section.name for section in page_sections() if section.of == kind]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"heads": []}', "no JSON", '{"a": 1}\n{"b": 2}', '{\n"a": 1,', "\xff"]
)
def test_what_is_no_result_is_refused(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.json").write_bytes(content.encode("latin-1"))
    assert status_of(["report", str(tmp_path / "x.json"), "--html", str(tmp_path / "x.html")]) == 2
    said = capsys.readouterr().err
    assert (
        len(said.splitlines()) == 1
        and "x.json" in said
        and "line 1 is no JSON" not in said
        and not (tmp_path / "x.html").exists()
    )


def test_a_document_that_lacks_a_field_is_refused(run: Run) -> None:
    for field in ("logit", "layers", "tokens", "prediction"):
        broken = {name: value for name, value in run.documents[0].items() if name != field}
        with pytest.raises(landed.LandedError):
            page(broken)


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e400"])
def test_numbers_that_are_not_finite_are_refused(number: str, run: Run, tmp_path: Path) -> None:
    text = json.dumps({**run.documents[0], "logit": "here"}).replace('"here"', number)
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(landed.LandedError, match=f"it holds {number}, which is no finite number"):
        read_results([tmp_path / "x.json"])


def test_a_title_that_is_no_text_is_escaped(run: Run, tmp_path: Path) -> None:
    save_page(tmp_path / "x.html", run.documents[0], "x\udcff")
    assert "<title>x\\udcff</title>" in (tmp_path / "x.html").read_text("utf-8")


@pytest.mark.parametrize("target", ["-", "", "prompts.txt"])
def test_a_page_takes_the_place_of_nothing_else(
    target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("prompts.txt").write_text("The Colosseum is in the city of\n")
    assert status_of(["run", "--prompts", "prompts.txt", "--html", target]) == 2
    assert "--html" in capsys.readouterr().err and Path("prompts.txt").read_text().startswith("The Colosseum")


def test_where_it_cannot_be_written_is_said_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for bad in (tmp_path, tmp_path / "no" / "x.html"):
        assert status_of(["run", "a", "--model", "/no/such/model", "--html", str(bad)]) == 2
        assert str(bad) in capsys.readouterr().err
    monkeypatch.setattr("landed_jax.page._packages.find_spec", lambda name: None)
    assert status_of(["run", "a", "--model", "/no/such/model", "--html", str(tmp_path / "x.html")]) == 2
    assert "landed-jax[page]" in capsys.readouterr().err


def test_results_are_read_from_json_and_from_lines(run: Run, tmp_path: Path) -> None:
    one, lines = tmp_path / "one.json", tmp_path / "lines.jsonl"
    one.write_text(json.dumps(run.documents[0], indent=2))
    lines.write_text("".join(json.dumps(document) + "\n" for document in run.documents))
    assert read_results([one, lines]) == [run.documents[0], *run.documents]
    save_page(tmp_path / "x.html", read_results([one]), "A title of <one's> own")
    assert "<title>A title of &lt;one&#x27;s&gt; own</title>" in (tmp_path / "x.html").read_text()
