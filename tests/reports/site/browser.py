"""A real headless Chromium, where there is one."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
WORDS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
MISSING = "no Chromium: apt-get install chromium chromium-driver"


def paths() -> tuple[str, str]:
    """Chromium and its driver. Without them a test is skipped; in CI, where it must run, failed."""
    chromium = next(filter(None, map(shutil.which, NAMES)), None)
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{MISSING} (tests of the site must run in CI)")
        pytest.skip(MISSING)
    return chromium, driver


@contextmanager
def opened(script: bool = True) -> Iterator[Any]:
    """A browser that keeps its console and every request; ``script=False`` turns JavaScript off."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    chromium, driver = paths()
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for word in WORDS:
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    if not script:
        off = {"profile.managed_default_content_settings.javascript": 2}
        options.add_experimental_option("prefs", off)
    found = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield found
    finally:
        found.quit()


def width(found: Any, pixels: int) -> None:
    size = {"width": pixels, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    found.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def scheme(found: Any, name: str) -> None:
    """What the person prefers: light or dark."""
    features = [{"name": "prefers-color-scheme", "value": name}]
    found.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def show(found: Any, site: Path, page: str) -> None:
    """Open a page and wait for all of it: a busy Chromium answers before it has the page."""
    from selenium.webdriver.support.wait import WebDriverWait

    address = (site / page).as_uri()
    found.get(address)
    ready = (
        "return document.readyState === 'complete' && location.href === arguments[0]"
        " && document.getElementById('main') !== null"
    )
    WebDriverWait(found, 30).until(lambda chrome: chrome.execute_script(ready, address))
