"""The page, served on loopback, in a Chromium that reports everything that goes wrong."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from tests.browser.chromium import ARGUMENTS, executable
from tools import playground, site

MILLISECONDS = 120_000
"""Patience with a slow machine; a run that hangs fails, one that is slow does not."""

MEASURED: list[str] = []


@dataclass
class Playground:
    """A tab with the page.

    Attributes:
        wrong: console errors, failed requests, and requests to another origin.
    """

    page: Page
    address: str
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        page = self.page
        page.set_default_timeout(MILLISECONDS)
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("request", lambda request: self._check(request.url))
        page.on("requestfailed", lambda request: self.wrong.append(f"failed: {request.url}"))
        page.add_init_script(
            "document.addEventListener('shown', (event) => (window.shown = event.detail));"
            "document.addEventListener('copied', (event) => (window.copied = event.detail));"
        )

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.wrong.append(f"{message.text} ({message.location})")

    def _check(self, url: str) -> None:
        if not url.startswith((self.address, "data:", f"blob:{self.address}")):
            self.wrong.append(f"foreign: {url}")

    def open(self, fragment: str = "") -> None:
        """Open the page, and wait until it can be used."""
        self.page.goto(f"{self.address}{fragment}")
        self.page.wait_for_selector("html[data-ready]", state="attached")

    def shown(self) -> int:
        """Return how many runs were shown so far."""
        return int(self.page.locator("html").get_attribute("data-shown") or 0)

    def after(self, action: Callable[[], Any]) -> dict[str, Any]:
        """Do something that shows another run; return that run."""
        wanted = self.shown() + 1
        action()
        self.page.wait_for_selector(f'html[data-shown="{wanted}"]', state="attached")
        return self.result()

    def result(self) -> dict[str, Any]:
        """Return the run that is shown."""
        found: dict[str, Any] = self.page.evaluate("window.shown")
        return found

    def type(self, code: str) -> None:
        """Put code into the editor."""
        self.page.evaluate("(code) => navigator.clipboard.writeText(code)", code)
        self.page.locator("#editor .cm-content").focus()
        self.page.keyboard.press("Control+A")
        self.page.keyboard.press("Control+V")

    def run(self) -> dict[str, Any]:
        """Press Run; return what is shown."""
        return self.after(self.page.locator("#run").click)

    def complaint(self) -> str:
        """Press Run; return the sentence about what cannot be run."""
        self.page.locator("#run").click()
        return self.page.locator("#complaint").inner_text()


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """Build and serve the page."""
    playground.build()
    with site.server(0, playground.OUTPUT) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}/"
        served.shutdown()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Start Chromium."""
    with sync_playwright() as driver:
        path, environment = executable()
        found = driver.chromium.launch(executable_path=path, env=dict(environment), args=ARGUMENTS)
        yield found
        found.close()


@pytest.fixture(scope="session")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """Return a profile with a cache, which all tabs share."""
    found = browser.new_context(viewport={"width": 1440, "height": 1000})
    found.grant_permissions(["clipboard-read", "clipboard-write"])
    yield found
    found.close()


@pytest.fixture
def tab(context: BrowserContext, address: str) -> Iterator[Playground]:
    """Return a new tab; nothing may go wrong in it."""
    found = Playground(context.new_page(), address)
    yield found
    found.page.close()
    assert found.wrong == []


@pytest.fixture(scope="module")
def opened(context: BrowserContext, address: str) -> Iterator[Playground]:
    """Return a tab with the page, which the tests of a module share: Python starts once."""
    found = Playground(context.new_page(), address)
    found.open()
    yield found
    found.page.close()
    assert found.wrong == []


@pytest.fixture(scope="session")
def measured() -> Callable[[str], None]:
    """Return a function that keeps a line for the end of the output."""
    return MEASURED.append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was measured."""
    if MEASURED:
        terminalreporter.section("measured in the browser (nothing is asserted)")
        for line in MEASURED:
            terminalreporter.write_line(line)
