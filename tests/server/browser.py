"""A real browser: Debian's chromium, without a window."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

from models.mixtral8x7b.mistake import Mistake

_NAMES = ("chromium", "chromium-browser", "google-chrome")


class NoBrowserError(Mistake):
    pass


@contextmanager
def chromium() -> Iterator[Browser]:
    """Raises NoBrowserError where there is none."""
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        raise NoBrowserError(f"the chat page in a browser wants {' or '.join(_NAMES)}; install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()
