"""The field of experts on the chat page: there where the server tells them, at the token that one looks at."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from models.mixtral8x7b.engine.model import ExpertSizes
from models.mixtral8x7b.tokenizer import Tokenizer
from tests.server.conftest import Served, Steps, listening, serving
from tests.server.stub import TextModel
from tests.server.test_page_in_a_browser import expect_said, expect_state, opened, send

SIZES = ExpertSizes(layers=32, experts=8, per_token=2)
SAID, LONG = "Bonjour, 日本 and 😀!", "one two three four five"


@pytest.fixture
def served(tokenizer: Tokenizer) -> Iterator[Served]:
    with serving(TextModel(tokenizer, experts=SIZES), tokenizer) as served:
        served.model.says = {"Hi": SAID}
        yield served


@pytest.fixture
def page(context: BrowserContext, address: str) -> Page:
    page = opened(context, address)
    expect(page.locator("#field")).to_be_visible()
    return page


def lit(page: Page) -> list[list[int]]:
    """Of each layer the experts that glow, the brightest first."""
    classes = page.locator("#field i").evaluate_all("cells => cells.map(cell => cell.className)")
    assert len(classes) == SIZES.layers * SIZES.experts
    assert set(classes) <= {"", "on", "on first"}
    by_layer = [classes[layer :: SIZES.layers] for layer in range(SIZES.layers)]
    return [
        sorted((n for n, name in enumerate(column) if name), key=lambda n: column[n] != "on first")
        for column in by_layer
    ]


def chosen(served: Served, said: str, n_said: int) -> list[list[int]]:
    """Those that drew token number n_said of what was said."""
    ids = served.model.prompts[-1] + served.tokenizer.encode(said, bos=False)[:n_said]
    return served.model.chosen(ids)


def test_a_look_at_a_token_shows_its_experts(page: Page, served: Served) -> None:
    """Token by token the text is what it is without them; one of half a character can be reached with keys."""
    send(page, "Hi")
    expect_said(page, "Hi", SAID)
    expect_state(page, "The answer is complete.")
    tokens = page.locator("article .token")
    ids = served.tokenizer.encode(SAID, bos=False)
    expect(tokens).to_have_count(len(ids) + 1)
    assert lit(page) == chosen(served, SAID, len(ids)), "the newest: the end of the text"
    place = next(n for n in range(3, len(ids)) if tokens.nth(n).inner_text().strip())
    tokens.nth(place).hover()
    assert lit(page) == chosen(served, SAID, place)
    text = tokens.nth(place).inner_text().strip()
    expect(page.locator("#caption")).to_contain_text(text)
    words = "; ".join(f"layer {n}: {a}, {b}" for n, (a, b) in enumerate(chosen(served, SAID, place)))
    expect(page.get_by_role("img")).to_have_accessible_name(f"Experts of the token “{text}”: {words}.")
    page.get_by_label("Message").hover()
    assert lit(page) == chosen(served, SAID, len(ids))
    tokens.first.focus()
    assert lit(page) == [[]] * SIZES.layers
    expect(page.locator("#caption")).to_contain_text("drawn with the prompt")
    for n in range(1, len(ids)):
        page.keyboard.press("ArrowRight")
        assert lit(page) == chosen(served, SAID, n)
        expect(tokens.nth(n)).to_have_accessible_description(page.locator("#told").inner_text())
    page.keyboard.press("Home")
    expect(tokens.first).to_be_focused()
    page.get_by_label("Message").focus()
    assert lit(page) == chosen(served, SAID, len(ids))


def test_the_field_glows_at_the_newest_token(page: Page, served: Served, steps: Steps) -> None:
    send(page, "Hi")
    for n in range(5):
        steps.let(1)
        expect(page.locator("article .token")).to_have_count(n + 1)  # a step's tokens are told while the next one runs
        assert lit(page) == (chosen(served, SAID, n) if n else [[]] * SIZES.layers)


def test_shares_of_the_conversation(page: Page, served: Served) -> None:
    counts = [0] * SIZES.experts
    for question, said in (("Hi", SAID), ("Count", LONG)):
        served.model.says = {question: said}
        send(page, question)
        expect(page.locator("article p").last).to_have_text(said)
        expect_state(page, "The answer is complete.")
        for n in range(1, len(served.tokenizer.encode(said, bos=False)) + 1):
            for layer in chosen(served, said, n):
                for expert in layer:
                    counts[expert] += 1
    shares = [f"{expert}: {100 * n / sum(counts):.1f} %" for expert, n in enumerate(counts)]
    expect(page.get_by_role("list").get_by_role("listitem")).to_have_text(shares)
    page.reload()
    expect(page.get_by_role("list").get_by_role("listitem")).to_have_text(shares)
    expect_said(page, "Hi", SAID, "Count", LONG)
    page.get_by_role("button", name="New chat").click()
    expect(page.get_by_role("listitem").first).to_have_text("0: 0.0 %")
    assert lit(page) == [[]] * SIZES.layers


def test_who_closes_the_field_does_not_ask(page: Page) -> None:
    page.get_by_text("Which experts answer").click()
    with page.expect_request("**/v1/chat/completions") as asked:
        send(page, "Hi")
    assert "experts" not in asked.value.post_data_json
    expect_said(page, "Hi", SAID)
    page.get_by_text("Which experts answer").click()
    with page.expect_request("**/v1/chat/completions") as asked:
        page.get_by_role("button", name="Retry").click()
    assert asked.value.post_data_json["experts"] is True


def test_a_server_that_tells_none(context: BrowserContext, tokenizer: Tokenizer) -> None:
    with serving(TextModel(tokenizer), tokenizer) as plain, listening(plain.app) as address:
        plain.model.says = {"Hi": SAID}
        page = opened(context, address)
        expect(page.get_by_role("heading", level=1)).to_have_text("mixtral")
        with page.expect_request("**/v1/chat/completions") as asked:
            send(page, "Hi")
        assert "experts" not in asked.value.post_data_json
        expect_said(page, "Hi", SAID)
        expect(page.locator("#experts")).to_be_hidden()
        expect(page.locator(".token")).to_have_count(0)


def test_dark_and_light_and_a_phone(page: Page) -> None:
    send(page, "Hi")
    expect_state(page, "The answer is complete.")
    page.emulate_media(reduced_motion="reduce")
    colours = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        colours.append(
            [
                page.locator(f"#field {which}").first.evaluate("cell => getComputedStyle(cell).backgroundColor")
                for which in (".first", ".on:not(.first)", "i:not(.on)")
            ]
        )
    assert len({colour for scheme in colours for colour in scheme}) == 6
    page.set_viewport_size({"width": 320, "height": 568})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    for element in (page.locator("#field"), page.locator("#shares"), page.get_by_role("button", name="Send")):
        expect(element).to_be_in_viewport(ratio=1)
