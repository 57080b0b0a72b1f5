"""Pages in a headless Chromium: Debian's, driven by Playwright's Python package."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def missing() -> str | None:
    """Why pages cannot be opened here."""
    if find_spec("playwright") is None:
        return "playwright is not installed: it drives the browser (extra `test`)"
    if CHROMIUM is None:
        return "there is no Chromium on the PATH: it opens the pages (apt-get install -y chromium)"
    return None


@contextmanager
def started() -> Iterator["Browser"]:
    """A browser without a network: names are not resolved. Where there is none, what asks for it is skipped."""
    if (why := missing()) is not None:
        pytest.skip(why)  # a browser is no Python package, and a machine may have none
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        # A container's root has no sandbox; the pages are the tests' own.
        browser = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND"]
        )
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(
    browser: "Browser", path: Path, *, width: int = 1280, scheme: Literal["light", "dark"] = "light"
) -> Iterator["Page"]:
    """A page, of which at the end nothing was fetched and nothing was complained of."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: said.append(f"error: {error}"))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_selector("main section")
    try:
        yield page
        assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
        assert said == []
    finally:
        context.close()


def busy(page: "Page") -> float:
    """Seconds of processor time that the page has taken: unlike a clock's, not those of other programs."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    metrics = session.send("Performance.getMetrics")["metrics"]
    return next(one["value"] for one in metrics if one["name"] == "ProcessTime")


def whole(page: "Page") -> None:
    """Scroll through the page, so that every chart is drawn, and open all that is folded."""
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    for _ in range(100):
        page.mouse.wheel(0, 700)
        page.wait_for_timeout(20)
        if page.evaluate("scrollY + innerHeight >= document.documentElement.scrollHeight - 1"):
            break
    page.wait_for_function("[...document.querySelectorAll('.chart')].every((one) => one.querySelector('svg'))")
