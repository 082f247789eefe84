"""A real browser: Debian's chromium, without a window.

.venv/bin/python -m tests.server.browser      # says so where there is none, and tests of the page are left out
"""

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
    path = _path_of_chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()


def _path_of_chromium() -> str:
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        raise NoBrowserError(f"left out: tests of the chat page want {' or '.join(_NAMES)}; install chromium")
    return path


if __name__ == "__main__":
    try:
        _path_of_chromium()
    except NoBrowserError as error:
        print(error)
