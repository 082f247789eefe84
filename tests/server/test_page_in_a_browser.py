"""The chat page as its users meet it, before a model that says what it is told."""

from dataclasses import replace

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from models.mixtral8x7b.server.app import create_app
from tests.server.conftest import PATIENCE_MS, Served, Steps, listening

HELLO, LONG = "Hello there, friend.", "one two three four five six seven eight"
MARKUP = "<b>bold</b><img src=x onerror=alert(1)>&amp;"
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture
def page(context: BrowserContext, served: Served, address: str) -> Page:
    served.model.says = {"Hi": HELLO, "Count": LONG, "Mark": MARKUP}
    return opened(context, address)


def opened(context: BrowserContext, address: str) -> Page:
    page = context.new_page()
    page.goto(address)
    return page


def send(page: Page, text: str) -> None:
    page.get_by_label("Message").fill(text)
    page.get_by_label("Message").press("Enter")


def expect_said(page: Page, *texts: str) -> None:
    expect(page.locator("article p")).to_have_text([*texts])


def expect_answer_in_the_making(page: Page, text: str) -> None:
    """Some of the text is there, and not all."""
    answer = page.locator("article p").last
    expect(answer).to_contain_text(text[:3])
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    assert text.startswith(shown := answer.inner_text())
    assert shown != text


def expect_state(page: Page, words: str) -> None:
    expect(page.get_by_role("status")).to_have_text(words)


def test_a_conversation(page: Page, served: Served) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text("mixtral")
    send(page, "Hi")
    expect_said(page, "Hi", HELLO)
    expect_state(page, "The answer is complete.")
    served.model.says = {"Count": LONG}
    send(page, "Count")
    expect_said(page, "Hi", HELLO, "Count", LONG)
    expect_state(page, "The answer is complete.")
    assert served.model.prompts[-1] == served.tokenizer.encode_chat(["Hi", HELLO, "Count"])
    page.get_by_role("button", name="New chat").click()
    expect_said(page)


def test_pieces_are_shown_as_they_come(page: Page, steps: Steps) -> None:
    send(page, "Count")
    steps.let(5)
    expect_answer_in_the_making(page, LONG)
    expect(page.get_by_role("log")).to_have_attribute("aria-busy", "true")
    expect(page.get_by_role("button", name="Send")).to_be_hidden()
    steps.let(100)
    expect_said(page, "Count", LONG)
    expect(page.get_by_role("log")).to_have_attribute("aria-busy", "false")


@pytest.mark.parametrize("how", ["Escape", "the button"])
def test_stop_then_retry(page: Page, served: Served, steps: Steps, how: str) -> None:
    send(page, "Count")
    steps.let(5)
    expect_answer_in_the_making(page, LONG)
    if how == "Escape":
        page.keyboard.press("Escape")
    else:
        page.get_by_role("button", name="Stop").click()
    expect_state(page, "Stopped.")
    expect(page.locator("article small").last).to_have_text("stopped")
    expect(page.get_by_label("Message")).to_be_focused()
    steps.let(1000)
    page.get_by_role("button", name="Retry").click()
    expect_said(page, "Count", LONG)
    assert served.model.prompts == [served.tokenizer.encode_chat(["Count"])] * 2


def test_a_reload_keeps_the_conversation(page: Page, steps: Steps) -> None:
    steps.let(100)
    page.get_by_text("Settings").click()
    page.get_by_label("Seed").fill("7")
    send(page, "Hi")
    expect_said(page, "Hi", HELLO)
    page.reload()
    expect_said(page, "Hi", HELLO)
    expect(page.get_by_label("Seed")).to_have_value("7")


def test_a_reload_in_the_middle_of_an_answer(page: Page, steps: Steps) -> None:
    send(page, "Count")
    steps.let(5)
    expect_answer_in_the_making(page, LONG)
    page.reload()
    expect(page.locator("article p").last).to_contain_text(LONG[:3])
    expect(page.locator("article small").last).to_have_text("broken off")
    steps.let(1000)
    page.get_by_role("button", name="Retry").click()
    expect_said(page, "Count", LONG)


def test_two_tabs_at_once(page: Page, context: BrowserContext, address: str, steps: Steps) -> None:
    other = opened(context, address)
    send(page, "Count")
    send(other, "Hi")
    steps.let(1000)
    expect_said(page, "Count", LONG)
    expect_said(other, "Hi", HELLO)
    for tab in (page, other):
        tab.reload()
    expect_said(page, "Count", LONG)
    expect_said(other, "Hi", HELLO)
    third = opened(context, address)
    expect(third.get_by_role("heading", level=1)).to_have_text("mixtral")
    expect_said(third)


def test_the_server_is_gone_and_back(context: BrowserContext, served: Served) -> None:
    served.model.says = {"Hi": HELLO}
    with listening(served.app) as address:
        page = opened(context, address)
        expect(page.get_by_role("heading", level=1)).to_have_text("mixtral")
    send(page, "Hi")
    expect(page.get_by_role("alert")).to_have_text("The server does not answer. Retry when it is back.")
    expect(page.locator("#users")).to_have_text("–")
    expect_said(page, "Hi")
    with listening(served.app, int(address.rpartition(":")[2])):
        expect_state(page, "The server answers again.")
        page.get_by_role("button", name="Retry").click()
        expect_said(page, "Hi", HELLO)
        expect(page.get_by_role("alert")).to_be_empty()


def test_the_server_goes_in_the_middle_of_an_answer(context: BrowserContext, served: Served, steps: Steps) -> None:
    served.model.says = {"Count": LONG}
    with listening(served.app) as address:
        page = opened(context, address)
        send(page, "Count")
        steps.let(5)
        expect_answer_in_the_making(page, LONG)
    expect(page.get_by_role("alert")).to_contain_text("Retry")
    expect(page.locator("article small").last).to_have_text("broken off")
    steps.let(1000)
    with listening(served.app, int(address.rpartition(":")[2])):
        page.get_by_role("button", name="Retry").click()
        expect_said(page, "Count", LONG)


def test_markup_is_text(page: Page) -> None:
    send(page, "Mark " + MARKUP)
    expect_said(page, "Mark " + MARKUP, MARKUP)
    page.reload()
    expect_said(page, "Mark " + MARKUP, MARKUP)
    expect(page.locator("article b, article img")).to_have_count(0)


def test_what_is_asked_for(page: Page, served: Served) -> None:
    """Settings reach the request: a system prompt, a limit; what cannot be is not sent."""
    page.get_by_text("Settings").click()
    page.get_by_label("System prompt").fill("Be brief.")
    for name, value in {"Temperature": "0", "Top-p": "0.5", "Max tokens": "2", "Seed": "3"}.items():
        page.get_by_label(name).fill(value)
    with page.expect_request("**/v1/chat/completions") as asked:
        send(page, "Hi")
    fields = asked.value.post_data_json
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    sampling = {"temperature": 0, "top_p": 0.5, "max_tokens": 2, "seed": 3}
    assert fields == {"messages": messages, "stream": True} | sampling
    expect_said(page, "Hi", "Hell")
    expect(page.locator("article small").last).to_contain_text("cut off")
    page.get_by_label("Temperature").fill("3")
    send(page, "Hi")
    expect(page.get_by_label("Message")).to_have_value("Hi")
    assert len(served.model.prompts) == 1


def test_a_refusal_is_told(page: Page) -> None:
    page.get_by_text("Settings").click()
    page.get_by_label("Max tokens").fill("100000")
    send(page, "Hi")
    expect(page.get_by_role("alert")).to_contain_text("512")
    expect_said(page, "Hi")
    page.get_by_label("Max tokens").fill("")
    page.get_by_role("button", name="Retry").click()
    expect_said(page, "Hi", HELLO)


def test_a_server_that_wants_a_key(context: BrowserContext, served: Served) -> None:
    served.model.says = {"Hi": HELLO}
    with listening(create_app(replace(served.service, api_key="sesame"))) as address:
        page = opened(context, address)
        for key, words in (("wrong", "The server wants its key: give it above."), ("sesame", "")):
            page.get_by_label("This server wants a key").fill(key)
            page.get_by_label("This server wants a key").press("Enter")
            expect(page.get_by_role("alert")).to_have_text(words)
        send(page, "Hi")
        expect_said(page, "Hi", HELLO)
        page.reload()
        expect(page.get_by_role("heading", level=1)).to_have_text("mixtral")
        expect(page.get_by_label("This server wants a key")).to_be_hidden()


def test_keys(page: Page) -> None:
    message = page.get_by_label("Message")
    expect(message).to_be_focused()
    message.press_sequentially("Hi")
    message.press("Shift+Enter")
    message.press_sequentially("you")
    expect(message).to_have_value("Hi\nyou")
    message.press("Enter")
    expect(message).to_have_value("")
    expect_said(page, "Hi\nyou", HELLO)


def test_the_strip_tells_of_the_server(page: Page, served: Served, steps: Steps) -> None:
    served.model.says = {"Go": "on and " * 60}
    expect(page.locator("#users")).to_have_text("0")
    send(page, "Go")
    expect(page.locator("#users")).to_have_text("1")
    expect(page.locator("#kv")).to_have_text("0.4 %")  # a block of 256
    for _ in range(100):
        steps.let(1)
        page.wait_for_timeout(50)
        if page.locator("#speed").inner_text() != "0":
            break
    else:
        pytest.fail("tokens came for five seconds, and the strip told of none")
    steps.let(1000)
    expect(page.locator("#users")).to_have_text("0")


def test_dark_and_light_and_a_phone(page: Page) -> None:
    def back() -> str:
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    page.emulate_media(color_scheme="light")
    light = back()
    page.emulate_media(color_scheme="dark")
    assert (light, back()) == ("rgb(255, 255, 255)", "rgb(23, 22, 28)")
    page.set_viewport_size({"width": 320, "height": 568})
    page.get_by_text("Settings").click()
    send(page, "Hi " + "x" * 300)
    expect_said(page, "Hi " + "x" * 300, HELLO)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    for name in ("Send", "Retry", "New chat"):
        expect(page.get_by_role("button", name=name)).to_be_in_viewport()
