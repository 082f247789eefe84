"""Stop strings: the first in a text counts, wherever pieces and ids are cut; none is shown, and nothing is lost."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.mixtral8x7b.tokenizer import StopError, Tokenizer
from models.mixtral8x7b.tokenizer.stops import StopStrings
from tests.tokenizer.makers import TINY, V1

FEW = st.text("ab", max_size=30) | st.text("aab\n", max_size=30)
STOPS = st.lists(st.text("ab", min_size=1, max_size=6) | st.text("ab\n", min_size=1, max_size=3), max_size=5)


def cut(text: str, stops: list[str]) -> tuple[str, str | None]:
    """The text up to the first stop string, and the longest one that begins there."""
    found = [(text.find(stop), -len(stop), stop) for stop in stops if stop in text]
    start, _, stop = min(found, default=(len(text), 0, None))
    return text[:start], stop


def fed(pieces: list[str], stops: list[str]) -> tuple[str, str | None]:
    machine, text = StopStrings(stops), ""
    for piece in pieces:
        text += machine.feed(piece)
        if machine.stopped is not None:
            break
    return text + machine.finish(), machine.stopped


def in_pieces(text: str, cuts: list[int]) -> list[str]:
    places = sorted({0, len(text), *(place % (len(text) + 1) for place in cuts)})
    return [text[start:end] for start, end in pairwise(places)]


@settings(deadline=None, max_examples=300)
@given(FEW, STOPS, st.lists(st.integers(0, 30), max_size=10))
def test_any_text_in_any_pieces_is_cut_at_its_first_stop_string(text: str, stops: list[str], cuts: list[int]) -> None:
    shown, stopped = fed(in_pieces(text, cuts), stops)
    expected, longest = cut(text, stops)
    assert shown == expected
    assert (stopped is None) == (longest is None)
    assert fed([text], stops) == (expected, longest), "all at once the longest is named"


@settings(deadline=None)
@given(FEW, STOPS, st.lists(st.integers(0, 30), max_size=10))
def test_only_what_may_begin_a_stop_string_is_held_back(text: str, stops: list[str], cuts: list[int]) -> None:
    machine, shown, read = StopStrings(stops), "", ""
    for piece in in_pieces(text, cuts):
        read += piece
        shown += machine.feed(piece)
        if machine.stopped is not None or any(stop in read for stop in stops):
            return
        held = read[len(shown) :]
        begins = [n for n in range(len(read) + 1) if any(stop.startswith(read[n:]) for stop in stops)]
        assert held == read[min(begins, default=len(read)) :]
    assert shown + machine.finish() == text


def test_a_stop_string_that_ends_first_waits_for_one_that_began_before_it() -> None:
    for text, expected in (("xabcd", "x"), ("xabce", "xa"), ("xabc", "xa")):
        assert fed(list(text), ["bc", "abcd"])[0] == expected


def test_the_beginning_that_is_longer_does_not_delay_the_stop() -> None:
    machine = StopStrings(["\n", "\n\n"])
    assert machine.feed("a\n") == "a"
    assert machine.stopped == "\n"
    assert machine.feed("b") == machine.finish() == ""
    assert fed(["a\n\n"], ["\n", "\n\n"]) == ("a", "\n\n")


def test_a_long_stop_string_costs_no_more_than_a_short_one() -> None:
    machine = StopStrings(["a" * 20_000 + "b", "a" * 10_000 + "c"])
    shown = "".join(machine.feed("a" * 7) for _ in range(10_000))
    assert shown == "a" * 50_000
    assert shown + machine.feed("b") == "a" * 50_000
    assert machine.stopped == "a" * 20_000 + "b"


@pytest.mark.parametrize(
    ("stops", "message"),
    [
        ("end", "the stop strings are 'end'; expected a list of texts"),
        (None, "the stop strings are nothing; expected a list of texts"),
        (["a", ""], "a stop string is ''; expected a text of at least one character"),
        (["a", None], "a stop string is nothing; expected a text"),
        ([5], "a stop string is 5; expected a text"),
    ],
)
def test_what_is_no_stop_string(stops: object, message: str) -> None:
    with pytest.raises(StopError, match=f"^{message}"):
        StopStrings(stops)


@pytest.fixture(scope="module", params=[TINY, V1], ids=["tiny", "v1"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return Tokenizer(request.param)


def answered(tokenizer: Tokenizer, ids: list[int], stops: list[str]) -> tuple[str, list[int]]:
    answer, text = tokenizer.answer(stops), ""
    for token in ids:
        text += answer.push(token)
        if answer.stopped is not None:
            break
    return text + answer.finish(), answer.offsets


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_any_ids_and_any_stop_strings(tokenizer: Tokenizer, data: st.DataObject) -> None:
    """Bytes and control tokens among the ids; stop strings are parts of the text, with or without more, or others."""
    n = data.draw(st.sampled_from([300, tokenizer.vocab_size]))
    ids = data.draw(st.lists(st.integers(0, n - 1), max_size=40))
    whole = tokenizer.decode(ids)
    places = st.tuples(st.integers(0, len(whole)), st.integers(1, 8), st.sampled_from(["", "", "x"]))
    parts = places.map(lambda place: whole[place[0] : place[0] + place[1]] + place[2]).filter(bool)
    stops = data.draw(st.lists(parts | st.text(" aexn\n", min_size=1, max_size=3), max_size=4))
    text, offsets = answered(tokenizer, ids, stops)
    assert text == cut(whole, stops)[0]
    assert offsets == sorted(offsets)
    assert offsets[:1] in ([], [0])


def test_characters_of_many_bytes_and_spaces_around_them(tokenizer: Tokenizer) -> None:
    text = " two  spaces, naïve e\u0301, 東京 👩‍👩‍👧 🙂end"
    ids = tokenizer.encode(text, bos=False)
    whole = tokenizer.decode(ids)
    assert "👩‍👩‍👧 🙂end" in whole
    for stop in ("🙂", "\u0301", "京 ", "end", "  ", "\u200d👧"):
        assert answered(tokenizer, ids, [stop]) == (whole[: whole.index(stop)], offsets_of(tokenizer, ids, stop))


def offsets_of(tokenizer: Tokenizer, ids: list[int], stop: str) -> list[int]:
    """Whole characters of the ids before each id, up to the one that completes the stop string."""
    texts = [tokenizer.decode(ids[:n]) for n in range(len(ids) + 1)]
    last = next(n for n, text in enumerate(texts) if stop in text)
    return [len(text.rstrip("\ufffd")) for text in texts[:last]]
