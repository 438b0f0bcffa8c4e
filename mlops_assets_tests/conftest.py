"""Fixtures that more than one folder of tests uses."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The system's Chromium; tests that need a browser are skipped without one."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("needs Chromium on the PATH (Debian: apt-get install chromium)")
    return path


@pytest.fixture
def browser_page(chromium_path: str) -> Iterator[Any]:
    """An empty page of a headless browser of its own."""
    from playwright.sync_api import sync_playwright

    quiet = ("background-networking", "component-update", "sync")
    arguments = ["--no-sandbox", "--disable-gpu", "--no-first-run"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium_path,
            args=[*arguments, *(f"--disable-{name}" for name in quiet)],
        )
        try:
            yield browser.new_page(viewport={"width": 1280, "height": 1600})
        finally:
            browser.close()
