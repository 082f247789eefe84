"""The names of full KV blocks: a block's content depends on all ids up to its end, so its name does.

link n = sha256(link n - 1, ids of block n)        link -1 = sha256(salt)
"""

import hashlib
from array import array
from collections.abc import Sequence
from typing import NamedTuple

from models.mixtral8x7b.paging import KV_BLOCK


class Link(NamedTuple):
    """Equal links are equal blocks: the ids are compared as well, in case somebody finds two with one digest."""

    digest: bytes
    parent: bytes
    ids: bytes


class Chain:
    """Of one row of ids, which may grow at its end."""

    def __init__(self, salt: str) -> None:
        self._root = digest(salt.encode("utf-8", "surrogatepass"))
        self._links: list[Link] = []

    def links(self, ids: Sequence[int], n_blocks: int) -> list[Link]:
        """Of the first n_blocks blocks, all of them full. Computed once."""
        known = len(self._links)
        if known < n_blocks:
            numbers = array("i", ids[known * KV_BLOCK : n_blocks * KV_BLOCK])
            data, size = numbers.tobytes(), KV_BLOCK * numbers.itemsize
            for at in range(0, len(data), size):
                parent, own = self._links[-1].digest if self._links else self._root, data[at : at + size]
                self._links.append(Link(digest(parent + own), parent, own))
        return self._links[:n_blocks]


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
