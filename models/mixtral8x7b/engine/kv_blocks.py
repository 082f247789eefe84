"""Who holds which blocks of the KV cache, and which are kept because somebody may want their content again.

free        nothing worth keeping in it
held        by one request, or by several whose ids are the same up to its end
cached      full, held by nobody, found by its link; given away when nothing is free, least recently used first
"""

from collections import OrderedDict
from collections.abc import Sequence

from models.mixtral8x7b.engine.chain import Link
from models.mixtral8x7b.paging import OutOfBlocksError


class KVBlocks:
    """Starts with all of them free."""

    def __init__(self, n_blocks: int) -> None:
        self.n_blocks = n_blocks
        self._free = list(range(n_blocks))[::-1]
        self._holders = [0] * n_blocks
        self._links: dict[int, Link] = {}  # of the blocks that can be found
        self._by_digest: dict[bytes, int] = {}
        self._cached: OrderedDict[int, None] = OrderedDict()  # least recently used first

    @property
    def n_free(self) -> int:
        return len(self._free)

    @property
    def n_cached(self) -> int:
        return len(self._cached)

    @property
    def n_available(self) -> int:
        """Blocks that `take` can give."""
        return len(self._free) + len(self._cached)

    @property
    def n_held(self) -> int:
        return sum(holders > 0 for holders in self._holders)

    def find(self, links: Sequence[Link]) -> list[int]:
        """The blocks with this content, up to the first that is not there. They are not held yet."""
        found = []
        for link in links:
            block = self._by_digest.get(link.digest)
            if block is None or self._links[block] != link:
                break
            found.append(block)
        return found

    def n_shared(self, blocks: Sequence[int]) -> int:
        """How many of them somebody holds: to hold those as well takes nothing from the available ones."""
        return sum(self._holders[block] > 0 for block in blocks)

    def share(self, blocks: Sequence[int]) -> None:
        """One holder more for blocks that `find` gave."""
        for block in blocks:
            self._holders[block] += 1
            self._cached.pop(block, None)

    def take(self, n_blocks: int) -> list[int]:
        """Blocks for one holder; raises OutOfBlocksError, and takes none, if fewer are available."""
        if n_blocks > self.n_available:
            raise OutOfBlocksError(f"{n_blocks} KV blocks are wanted; at most {self.n_available} are available")
        taken = []
        for _ in range(n_blocks):
            if self._free:
                block = self._free.pop()
            else:
                block, _ = self._cached.popitem(last=False)
                del self._by_digest[self._links.pop(block).digest]
            self._holders[block] = 1
            taken.append(block)
        return taken

    def keep(self, blocks: Sequence[int], links: Sequence[Link]) -> None:
        """These held blocks are full and have this content: they can be found, and stay when nobody holds them.

        Where the same content stands in two blocks the first is found; the other is free after use.
        """
        for block, link in zip(blocks, links, strict=True):
            if block not in self._links and link.digest not in self._by_digest:
                self._links[block] = link
                self._by_digest[link.digest] = block

    def release(self, blocks: Sequence[int]) -> None:
        """One holder less for blocks in order of position. Of those that nobody holds then, the last goes first.

        Raises ValueError, and releases none, if one is not held.
        """
        if len(set(blocks)) < len(blocks) or not all(self._holders[block] for block in blocks):
            raise ValueError(f"blocks {list(blocks)} are not all held, once each")
        for block in reversed(blocks):
            self._holders[block] -= 1
            if self._holders[block]:
                continue
            if block in self._links:
                self._cached[block] = None
            else:
                self._free.append(block)

    def forget(self) -> None:
        """No content is kept any more, that of held blocks neither."""
        self._free += self._cached
        self._cached.clear()
        self._links.clear()
        self._by_digest.clear()
