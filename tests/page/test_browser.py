"""The page in a browser: it says nothing, asks nothing, shows the JSON's numbers, and does what its controls say."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from landed_jax.page import save_page
from tests.page.chromium import busy, opened, whole
from tests.page.conftest import PROMPTS, Run
from tests.page.paths import read

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

ROME = PROMPTS[0]["prompt"]


@pytest.fixture
def page(browser: "Browser", run: Run) -> "Iterator[Page]":
    with opened(browser, run.html) as page:
        yield page


def section(page: "Page", name: str) -> "Locator":
    return page.locator(f"section[aria-labelledby={name}]")


def facts(page: "Page") -> dict[str, float]:
    """Every fact that stands in the JSON, by its line of Python."""
    found = page.eval_on_selector_all("dd[data-path]", "all => all.map((one) => [one.dataset.path, one.title])")
    return {line: float(text) for line, text in found}


def chosen(page: "Page", name: str) -> list[tuple[float, str]]:
    """The numbers that a section says of what was chosen, each with its line of Python."""
    items = section(page, name).locator("output li").filter(has=page.locator("code"))
    return [(float(one.locator("b").inner_text()), one.locator("code").inner_text()) for one in items.all()]


def cells(page: "Page", name: str, column: int) -> list[str]:
    rows = section(page, name).locator(".table").last.locator("tbody tr")
    return [row.locator("th, td").nth(column).inner_text() for row in rows.all()]


def test_it_opens_in_two_seconds(page: "Page") -> None:
    page.wait_for_selector(".chart svg")
    assert 0 < busy(page) < 2


def test_facts_and_chosen_rows_are_the_numbers_of_the_json(page: "Page", run: Run) -> None:
    shown = facts(page)
    assert {'run["logit"]', 'run["closure_error"]', 'run["coordinates"]["for_90"]'} <= set(shown)
    for line, number in shown.items():
        assert number == read(line, {"run": run.documents[0]}), line
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    compared = 0
    for name in ("value", "waterfall", "heads", "neurons", "writes", "scale", "coordinates", "sources", "lens"):
        for row in (0, 2):
            section(page, name).locator(".table").last.locator("button.mark").nth(row).click()
            for number, line in chosen(page, name):
                assert number == read(line, {"run": run.documents[0]}), line
                compared += 1
    assert compared > 40


def test_another_position_and_another_target_change_the_numbers(page: "Page", run: Run) -> None:
    before = facts(page)
    page.locator("select[data-name=Target]").select_option("' Athens'")
    assert facts(page)['run["logit"]'] == run.documents[1]["logit"] != before['run["logit"]']
    page.locator("select[data-name=Prompt]").select_option(PROMPTS[2]["prompt"])
    last = facts(page)
    assert all(number == read(line, {"run": run.documents[2]}) for line, number in last.items())
    assert "' are' over ' is'" in page.locator("#subject").inner_text()


def test_a_token_with_an_account_is_chosen_by_a_click(browser: "Browser", run: Run, tmp_path: Path) -> None:
    first = run.documents[0]
    earlier = {**first, "position": 3, "logit": 1.25, "sum_of_landed": 1.25}
    save_page(tmp_path / "two.html", [first, earlier])
    with opened(browser, tmp_path / "two.html") as page:
        tokens = page.locator("ol.tokens button")
        assert tokens.nth(7).get_attribute("aria-current") == "true"
        tokens.nth(3).click()
        assert facts(page)['run["logit"]'] == 1.25
        assert page.locator("ol.tokens button").nth(3).get_attribute("aria-current") == "true"
        page.locator("select[data-name=Position]").select_option(index=0)
        assert facts(page)['run["logit"]'] == first["logit"]


def test_tables_sort_and_filter(page: "Page", run: Run) -> None:
    table = section(page, "writes").locator(".table").last
    head = table.locator("thead th").nth(3)
    for order, descending in (("descending", True), ("ascending", False)):
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == order
        numbers = [float(text.replace("−", "-")) for text in cells(page, "writes", 3)]
        expected = sorted((row["direct_effect"] for row in run.documents[0]["top_writes"]), reverse=descending)
        assert numbers == pytest.approx(expected, abs=5e-5)
    assert table.locator("thead th").nth(2).get_attribute("aria-sort") == "none"
    table.locator("input[type=search]").fill("head 2.")
    heads = [row for row in run.documents[0]["top_writes"] if row["kind"] == "head" and row["layer"] == 2]
    assert sorted(cells(page, "writes", 0)) == sorted(f"head 2.{row['index']}" for row in heads)
    assert table.locator(".status").inner_text() == f"{len(heads)} of 20 rows"


def test_a_bar_of_the_waterfall_opens_into_its_parts(page: "Page", run: Run) -> None:
    here = section(page, "waterfall")
    here.locator(".chart svg").first.wait_for()
    here.locator("path[aria-label^='MLP 3']").click()
    assert here.locator(".drill select").first.evaluate("one => one.selectedOptions[0].textContent") == "MLP 3"
    assert (run.documents[0]["layers"][3]["mlp"]["landed"], 'run["layers"][3]["mlp"]["landed"]') in chosen(
        page, "waterfall"
    )
    largest = run.documents[0]["detail"]["neurons"][3][0]
    bar = here.locator(f".drill path[aria-label^='neuron 3.{largest['index']},']")
    bar.click()
    assert (largest["landed"], 'run["detail"]["neurons"][3][0]["landed"]') in chosen(page, "waterfall")
    here.locator(".drill select").first.select_option(label="attention 2")
    here.locator(".drill path[aria-label^='head 2.7,']").wait_for()


def test_hovering_shows_exact_numbers(page: "Page", run: Run) -> None:
    here = section(page, "heads")
    here.scroll_into_view_if_needed()
    here.locator("path[aria-label^='head 2.7']").hover()
    page.locator("#tip").wait_for(state="visible")
    said = page.locator("#tip").inner_text()
    assert said.startswith("head 2.7") and repr(run.documents[0]["heads"][2][7]) in said
    here.locator("select").first.select_option("direct_effect")
    effect = run.documents[0]["detail"]["heads"]["direct_effect"][2][7]
    here.locator(f"path[aria-label='head 2.7, direct effect: {effect!r}']").wait_for()


def test_the_keyboard_reaches_everything(page: "Page") -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.keyboard.press("Enter")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
    assert page.locator("#theme").inner_text() == "Light theme"
    mark = section(page, "writes").locator("button.mark").first
    mark.focus()
    page.keyboard.press("Enter")
    assert chosen(page, "writes")


HOSTILE = (
    "</script><img src=x onerror=window.hacked=1>",
    "<!--<script>",
    "${policy} {{name}} $data",
    "'\"><svg onload=window.hacked=1>",
    "\u202e\u2028\0\x1b[31m",
    "__proto__",
    "{layer}",
)


def test_hostile_texts_stay_texts(browser: "Browser", run: Run, tmp_path: Path) -> None:
    whole_text: dict[str, Any] = json.loads(json.dumps(run.documents[0]))
    whole_text |= {"prompt": "".join(HOSTILE), "model": HOSTILE[0], "notes": [HOSTILE[3]]}
    whole_text["tokens"] = [*HOSTILE, *whole_text["tokens"]][:8]
    for n, token in enumerate([whole_text["target"], whole_text["runner_up"], *whole_text["prediction"]["likeliest"]]):
        token["text"] = HOSTILE[n % len(HOSTILE)]
    for n, row in enumerate(whole_text["top_writes"]):
        if row["source"]:
            row["source"]["text"] = HOSTILE[n % len(HOSTILE)]
    save_page(tmp_path / "hostile.html", whole_text)
    with opened(browser, tmp_path / "hostile.html") as page:
        whole(page)
        tokens = page.locator("ol.tokens button")
        assert tokens.nth(0).inner_text() == HOSTILE[0] and tokens.nth(6).inner_text() == "{layer}"
        assert tokens.nth(4).inner_text() == r"\u202e\u2028\x00\x1b[31m"
        assert page.evaluate("window.hacked") is None
        assert page.locator("img").count() == 0 and page.locator("svg[onload]").count() == 0
        tokens.nth(0).click()
        section(page, "sources").locator(".chart path").first.hover()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_nothing_is_hard_to_perceive(
    browser: "Browser", run: Run, width: int, scheme: Literal["light", "dark"]
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    with opened(browser, run.html, width=width, scheme=scheme) as page:
        whole(page)
        section(page, "writes").locator("button.mark").first.click()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        found = axe.Axe().run(page).response
        assert len(found["passes"]) > 20
        grave = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
        assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in grave] == []


def test_a_large_model_and_a_long_prompt(browser: "Browser", run: Run, tmp_path: Path) -> None:
    """The account of 32 layers of 32 heads and a prompt of 512 tokens: made from a smaller one's."""
    layers, heads, length = 32, 32, 512
    document = json.loads(json.dumps(run.documents[0]))
    numbers = [[(7 * layer + 3 * head) % 11 - 5.123456789012345 for head in range(heads)] for layer in range(layers)]
    document |= {
        "tokens": [f" token{at}" for at in range(length)],
        "token_ids": list(range(length)),
        "position": length - 1,
        "heads": numbers,
        "layers": [document["layers"][0]] * layers,
        "by_source": {
            "tokens": [0.1 * (at % 13) - 0.5 for at in range(length)],
            "heads": [[[number] * length for number in row] for row in numbers],
            "closure_error": 0.0,
        },
    }
    detail = document["detail"]
    detail["heads"] = {"direct_effect": numbers, "sigma_share": numbers}
    detail["neurons"] = [detail["neurons"][0]] * layers
    detail["neuron_groups"] = {"size": 96, "landed": numbers}
    path = tmp_path / "large.html"
    save_page(path, document)
    assert path.stat().st_size < 10e6
    with opened(browser, path) as page:
        assert 0 < busy(page) < 2
        whole(page)
        assert section(page, "heads").locator(".chart path[aria-label^='head ']").count() == layers * heads
