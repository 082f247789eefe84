"""Prompts at random, as a server would put them together."""

import random

from models.mixtral8x7b.packing import START_UNIT
from models.mixtral8x7b.paging import KV_BLOCK, Prompt, blocks_for


def random_prompts(generator: random.Random, n_blocks: int, longest: int) -> list[Prompt]:
    """Up to 32 that fit a cache of n_blocks together, fresh or going on from any start, none longer than `longest`."""
    prompts: list[Prompt] = []
    blocks = generator.sample(range(n_blocks), n_blocks)
    for row in generator.sample(range(32), generator.choice([1, 2, 5, 32])):
        if not blocks:
            break
        length = generator.randint(1, min(longest, KV_BLOCK * len(blocks)))
        own, blocks = blocks[: blocks_for(length)], blocks[blocks_for(length) :]
        start = START_UNIT * generator.randint(0, (length - 1) // START_UNIT) if generator.random() < 0.6 else 0
        prompts.append(Prompt(row, [1] * length, own, start))
    return prompts
