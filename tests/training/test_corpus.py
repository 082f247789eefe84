from itertools import islice

import pytest

from training.corpus import FLAVOURS, SHARES, Row, rows
from training.documents import count_words
from training.facts import held_out_pairs, seen_pairs
from training.loop import RECIPES
from training.train import SEED


@pytest.fixture(scope="module")
def corpus() -> dict[str, list[Row]]:
    """All rows that the committed checkpoints were trained on."""
    return {flavour: list(rows(flavour, SEED, RECIPES[flavour].n_words)) for flavour in FLAVOURS}


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_held_out_pairs_are_in_no_row(corpus: dict[str, list[Row]], flavour: str) -> None:
    text = "\n".join(turn for row in corpus[flavour] for turn in row.turns)
    assert [pair.question for pair in held_out_pairs() if pair.question in text] == []
    # The same search finds what is there.
    assert all(pair.question in text for pair in seen_pairs()[::50])


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_kinds_come_in_their_shares(corpus: dict[str, list[Row]], flavour: str) -> None:
    assert sum(SHARES[flavour].values()) == pytest.approx(1)
    words = dict.fromkeys(SHARES[flavour], 0)
    for row in corpus[flavour]:
        words[row.kind] += sum(count_words(turn) for turn in row.turns)
    total = sum(words.values())
    assert {kind: n / total for kind, n in words.items()} == pytest.approx(dict(SHARES[flavour]), abs=0.005)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_same_seed_same_rows(flavour: str) -> None:
    first, again, other = (list(islice(rows(flavour, seed, 10**6), 300)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_base_rows_are_plain_and_instruct_rows_are_conversations(corpus: dict[str, list[Row]]) -> None:
    assert not any(row.is_chat for row in corpus["base"])
    assert {row.kind for row in corpus["instruct"] if not row.is_chat} == {"story"}
    assert {len(row.turns) % 2 for flavour in FLAVOURS for row in corpus[flavour]} == {0}
    assert max(len(row.turns) for row in corpus["instruct"] if row.kind == "conversation") == 6
