"""Who has which blocks of the KV cache. Plain Python: a block is a number, what stands in it is the chips' business."""

from collections.abc import Sequence
from dataclasses import dataclass

from models.mixtral8x7b.arguments import RequestError, require_whole, token_ids
from models.mixtral8x7b.mistake import Mistake

KV_BLOCK = 64  # positions in a block: two tiles of rows


class OutOfBlocksError(Mistake):
    """More positions are wanted than the KV cache has room for; the message has both numbers."""


@dataclass(frozen=True)
class Prompt:
    """One user's prompt: the decode row it has, its token ids, and its blocks in order of position.

    With blocks (7, 2) positions 0..63 stand in block 7 and positions 64..127 in block 2. Keys and values of the
    positions before `start` are in the cache already. Raises RequestError for what are no whole numbers, and for a
    prompt without a token.
    """

    row: int
    ids: Sequence[int]
    blocks: Sequence[int]
    start: int = 0

    def __post_init__(self) -> None:
        row = require_whole("the row of a prompt", self.row)
        values = {"row": row, "ids": token_ids(f"the prompt in row {row}", self.ids)}
        values["blocks"] = token_ids(f"the blocks of row {row}", self.blocks)
        if not values["ids"]:
            raise RequestError(f"the prompt in row {row} is empty; expected at least one token (BOS)")
        for name, value in values.items():
            object.__setattr__(self, name, value)  # frozen for others


def blocks_for(n_tokens: int) -> int:
    """Blocks that hold n_tokens positions: 1 for 1 to 64, 2 for 65 to 128."""
    return -(-n_tokens // KV_BLOCK)
