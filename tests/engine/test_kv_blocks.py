"""Blocks are never lost and never given twice; content is found where it is the same, and only there."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.mixtral8x7b.engine import chain
from models.mixtral8x7b.engine.chain import Chain, Link
from models.mixtral8x7b.engine.kv_blocks import KVBlocks
from models.mixtral8x7b.paging import KV_BLOCK, OutOfBlocksError

IDS = list(range(4 * KV_BLOCK))


def links(ids: Sequence[int], salt: str = "") -> list[Link]:
    return Chain(salt).links(ids, len(ids) // KV_BLOCK)


def kept(blocks: KVBlocks, ids: Sequence[int], salt: str = "") -> list[int]:
    """Blocks of these ids that nobody holds any more."""
    own = blocks.take(len(ids) // KV_BLOCK)
    blocks.keep(own, links(ids, salt))
    blocks.release(own)
    return own


def test_content_is_found_up_to_the_first_difference() -> None:
    blocks = KVBlocks(10)
    own = kept(blocks, IDS)
    assert blocks.find(links(IDS)) == own
    for at in range(len(IDS)):
        other = [*IDS[:at], 999, *IDS[at + 1 :]]
        assert blocks.find(links(other)) == own[: at // KV_BLOCK]
    assert blocks.find(links(IDS[KV_BLOCK:])) == []  # the same ids at other positions are other content


def test_a_chain_that_grows_has_the_links_of_the_whole() -> None:
    growing = Chain("")
    for n in range(1, 5):
        assert growing.links(IDS[: n * KV_BLOCK + 7], n) == links(IDS)[:n]
    assert growing.links(IDS, 2) == links(IDS)[:2]


def test_a_salt_separates() -> None:
    blocks = KVBlocks(10)
    kept(blocks, IDS, "a")
    assert blocks.find(links(IDS)) == blocks.find(links(IDS, "b")) == []
    assert len(blocks.find(links(IDS, "a"))) == 4


def test_ids_with_one_digest_are_not_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "digest", lambda data: b"one for all")
    blocks = KVBlocks(10)
    own = kept(blocks, IDS[:KV_BLOCK])
    assert blocks.find(links(IDS[:KV_BLOCK])) == own
    assert blocks.find(links(IDS[KV_BLOCK : 2 * KV_BLOCK])) == []


def test_the_least_recently_used_goes_first_and_of_one_request_the_tail() -> None:
    blocks = KVBlocks(6)
    first = kept(blocks, IDS[: 3 * KV_BLOCK])
    second = kept(blocks, IDS[::-1][: 3 * KV_BLOCK])
    again = blocks.find(links(IDS[:KV_BLOCK]))
    blocks.share(again)  # the head of the first is used once more
    blocks.release(again)
    order = [blocks.take(1)[0] for _ in range(6)]
    assert order == [first[2], first[1], second[2], second[1], second[0], first[0]]


def test_nothing_that_is_held_or_free_is_given_up_for_nothing() -> None:
    blocks = KVBlocks(4)
    own = kept(blocks, IDS[: 2 * KV_BLOCK])
    blocks.share(own)
    taken = blocks.take(2)
    assert set(taken).isdisjoint(own)
    with pytest.raises(OutOfBlocksError, match="1 KV blocks are wanted; at most 0 are available"):
        blocks.take(1)
    assert blocks.find(links(IDS[: 2 * KV_BLOCK])) == own


def test_what_is_not_held_cannot_be_released() -> None:
    blocks = KVBlocks(3)
    (own,) = blocks.take(1)
    others = [block for block in range(3) if block != own]
    for wrong in ([own, own], [others[0]], [own, others[1]]):
        with pytest.raises(ValueError, match="are not all held, once each"):
            blocks.release(wrong)
    blocks.release([own])
    assert blocks.n_free == 3


def test_the_forgotten_is_not_found_and_its_blocks_are_free() -> None:
    blocks = KVBlocks(6)
    kept(blocks, IDS[: 2 * KV_BLOCK])
    held = blocks.take(2)
    blocks.keep(held, links(IDS[::-1][: 2 * KV_BLOCK]))
    blocks.forget()
    assert (blocks.n_free, blocks.n_cached, blocks.n_held) == (4, 0, 2)
    blocks.release(held)
    assert (blocks.n_free, blocks.n_cached, blocks.n_held) == (6, 0, 0)
    assert blocks.find(links(IDS[::-1])) == blocks.find(links(IDS)) == []


ROOTS = st.lists(st.integers(0, 1), min_size=1, max_size=5)  # a few contents, so that many begin alike


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(ROOTS, st.booleans(), st.integers(0, 4)), max_size=40), st.integers(5, 14))
def test_any_use_of_them(uses: list[tuple[list[int], bool, int]], n_blocks: int) -> None:
    """Against a plain account of what stands in each block, as their holders have written it."""
    blocks = KVBlocks(n_blocks)
    content: dict[int, list[int]] = {}  # of each block, all ids up to its end
    held: list[list[int]] = []
    for roots, keeps, releases in uses:
        ids = [root for root in roots for _ in range(KV_BLOCK)]
        hit = blocks.find(links(ids))
        for n, block in enumerate(hit, start=1):
            assert content[block] == ids[: n * KV_BLOCK]
        wanted = len(roots) - len(hit)
        costs = len(roots) - blocks.n_shared(hit)
        if costs <= blocks.n_available:
            before = blocks.n_available
            blocks.share(hit)
            own = hit + blocks.take(wanted)
            assert before - blocks.n_available == costs
            assert all(block not in other for other in held for block in own[len(hit) :])
            for n, block in enumerate(own, start=1):
                content[block] = ids[: n * KV_BLOCK]
            if keeps:
                blocks.keep(own, links(ids))
                assert len(blocks.find(links(ids))) == len(own)
            held.append(own)
        for _ in range(min(releases, len(held))):
            blocks.release(held.pop(0))
        assert blocks.n_held == len({block for own in held for block in own})
        assert blocks.n_free + blocks.n_cached + blocks.n_held == n_blocks
    for own in held:
        blocks.release(own)
    assert (blocks.n_free + blocks.n_cached, blocks.n_held) == (n_blocks, 0)
