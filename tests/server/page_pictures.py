"""docs/page-wide.png and docs/page-narrow.png: the chat page of a server that runs, after two questions, the pointer at
a token of the answer.

./mixtral serve --experts
.venv/bin/python -m tests.server.page_pictures http://127.0.0.1:8080
"""

import sys
from pathlib import Path

from playwright.sync_api import Browser

from models.mixtral8x7b.mistake import Mistake
from models.mixtral8x7b.program import program
from tests.server.browser import chromium

DOCS = Path(__file__).parents[2] / "docs"
WIDE, NARROW = (1000, 720), (390, 760)
SLOW_MS = 180_000  # of an answer, on a machine that is busy
QUESTIONS = ("Tell me a story about a cat.", "What is the capital of Italy?")
LOOKED_AT = "capital"


@program("page_pictures")
def main() -> None:
    if len(sys.argv) != 2:
        raise Mistake("the address of a server is missing; expected one, such as http://127.0.0.1:8080")
    with chromium() as browser:
        take(browser, sys.argv[1], "page-wide.png", WIDE, "light", with_settings=True)
        take(browser, sys.argv[1], "page-narrow.png", NARROW, "dark", with_settings=False)


def take(browser: Browser, address: str, name: str, size: tuple[int, int], scheme: str, with_settings: bool) -> None:
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    context.set_default_timeout(SLOW_MS)
    page = context.new_page()
    page.goto(address)
    page.locator("#field").wait_for()
    page.get_by_text("Settings").click()
    page.get_by_label("Temperature").fill("0")
    if not with_settings:
        page.get_by_text("Settings").click()
    for n_answers, question in enumerate(QUESTIONS, 1):
        page.get_by_label("Message").fill(question)
        page.get_by_label("Message").press("Enter")
        page.locator(f"#log[aria-busy=false] article:nth-of-type({2 * n_answers})").wait_for()
    page.locator(".token", has_text=LOOKED_AT).last.hover()
    page.screenshot(path=DOCS / name, animations="disabled")
    context.close()


if __name__ == "__main__":
    main()
