"""A real Chromium that looks at a test's server; tests that need it are skipped, and say so, where there is none."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

AXE = Path(__file__).resolve().parents[2] / "node_modules" / "axe-core" / "axe.min.js"
WAIT_MS = 60_000  # of a machine that does much else


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """A browser without a window."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is missing: pip install playwright")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium: apt install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def axe() -> str:
    """The accessibility checker's source."""
    if not AXE.is_file():
        pytest.skip("axe-core is missing: npm install --no-save axe-core")
    return AXE.read_text(encoding="utf-8")


class Visit:
    """One tab at a server's page, and what a person does there.

    Attributes:
        page: of Playwright's.
        faults: what went wrong in its scripts.
        asked: addresses that it has asked for.
    """

    def __init__(self, context: Any, address: str) -> None:
        self.page = context.new_page()
        self.page.set_default_timeout(WAIT_MS)
        self.address = address
        self.faults: list[str] = []
        self.asked: list[str] = []
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("dialog", lambda dialog: self.faults.append(dialog.message))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(address)

    def open(self, view: str) -> None:
        """Go to a view by its link."""
        self.page.get_by_role("navigation").get_by_role("link", name=view).click()

    def ask(self, question: str) -> Any:
        """Say something; the turn, once its answer is there and can be judged."""
        turns = self.page.locator("#chat-turns > li")
        before = turns.count()
        self.page.get_by_label("Your message").fill(question)
        self.page.keyboard.press("Enter")
        turn = turns.nth(before)
        turn.get_by_role("button", name="Correct it").wait_for()
        return turn

    def correct(self, place: Any, text: str) -> None:
        """Say what an answer should have been."""
        place.get_by_role("button", name="Correct it").click()
        place.get_by_label("What it should have said").fill(text)
        place.get_by_role("button", name="Save").click()
        place.get_by_text("Corrected").wait_for()

    def sees(self, text: str) -> None:
        """Wait until a text is to be seen."""
        self.page.get_by_text(text).first.wait_for()
