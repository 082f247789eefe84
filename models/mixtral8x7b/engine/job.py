"""A request on its way through the engine: what it has so far, and where it stands."""

from dataclasses import dataclass, field

from models.mixtral8x7b.engine.chain import Chain, Link
from models.mixtral8x7b.engine.request import Request
from models.mixtral8x7b.engine.stream import Stream
from models.mixtral8x7b.packing import START_UNIT
from models.mixtral8x7b.paging import KV_BLOCK, Prompt, blocks_for


@dataclass(eq=False)
class Job:
    """Without a row it waits. In a row its prompt is prefilled, which makes its first new token; then it decodes.

    One that had to give its row back has its whole answer so far as a part of its prompt when it comes again.
    """

    request: Request
    stream: Stream
    submitted: float  # by the loop's clock, seconds
    number: int = -1  # in the order of arrival
    ids: list[int] = field(default_factory=list)  # the prompt and what was drawn so far
    done: int = 0  # positions whose keys and values are in its blocks
    blocks: list[int] = field(default_factory=list)
    row: int | None = None
    prompt: Prompt | None = None  # while it is prefilled
    decodes: bool = False
    passed: int = 0  # times that a later one had a row before it
    passes: int = 0  # since it was first in one, while it is prefilled
    over: bool = False
    n_cached: int = 0
    started: float | None = None
    first_token: float | None = None

    def __post_init__(self) -> None:
        self.ids = list(self.request.ids)
        self._chain = Chain(self.request.salt)

    @property
    def n_new(self) -> int:
        return len(self.ids) - len(self.request.ids)

    def full_links(self, n_tokens: int) -> list[Link]:
        """Of the blocks that its first n_tokens ids fill."""
        return self._chain.links(self.ids, n_tokens // KV_BLOCK)

    def unit_link(self, start: int) -> Link | None:
        """Of the START_UNIT of ids from `start` on, that is of its last block; None if it is not full."""
        end = start + START_UNIT
        return self.full_links(end)[-1] if end <= len(self.ids) else None

    @property
    def in_passes(self) -> list[int]:
        """What a prefill computes of its ids."""
        return self.ids[: self.request.prefill]

    @property
    def grows(self) -> bool:
        """Whether its answer may need more blocks than it has, or than it would begin with."""
        return blocks_for(self.request.most_positions) > (len(self.blocks) or blocks_for(len(self.ids)))

    @property
    def lacks_block(self) -> bool:
        """Whether the position that a step would fill is in none of its blocks."""
        return self.done >= KV_BLOCK * len(self.blocks)
