"""Lays prompts out for prefill: how long a pass is, and the tensors that one chunk of it needs."""

from collections.abc import Sequence
from math import gcd, lcm

import torch
import ttnn

from models.mixtral8x7b.arguments import RequestError
from models.mixtral8x7b.paging import KV_BLOCK, Prompt, blocks_for
from models.mixtral8x7b.tt.layouts import DECODE_ROWS, LARGE_BUCKET, TILE
from models.mixtral8x7b.tt.mesh import Mesh, Placement
from models.mixtral8x7b.tt.rope import Rope
from models.mixtral8x7b.tt.steps import PrefillChunk

SMALL_BUCKETS = (128, 256, 512)  # few lengths, so few programs; above them multiples of LARGE_BUCKET
MAX_PASS_TOKENS = 16384  # tokens of all users together in one pass; activations take 0.64 GB of a chip at full size
SKIP = -1  # entry of a fill table for positions beyond a user's blocks: keys and values of padding are thrown away


def bucket(length: int, n_users: int, n_devices: int) -> int:
    """The padded length of a pass: at least `length`, and rows that divide over the chips in whole tiles."""
    unit = lcm(SMALL_BUCKETS[0], n_devices * TILE // gcd(n_devices * TILE, n_users))
    fitting = [size for size in SMALL_BUCKETS if size >= length and size % unit == 0]
    return fitting[0] if fitting else -(-length // lcm(LARGE_BUCKET, unit)) * lcm(LARGE_BUCKET, unit)


def passes(prompts: Sequence[Prompt], n_devices: int, max_tokens: int) -> list[list[Prompt]]:
    """Groups prompts of equal bucket into passes of at most max_tokens padded tokens; a longer one goes alone."""
    groups: list[list[Prompt]] = []
    for prompt in sorted(prompts, key=lambda prompt: (bucket(len(prompt.ids), 1, n_devices), prompt.row)):
        size = bucket(len(prompt.ids), 1, n_devices)
        last = groups[-1] if groups else None
        if last and bucket(len(last[0].ids), 1, n_devices) == size and (len(last) + 1) * size <= max_tokens:
            last.append(prompt)
        else:
            groups.append([prompt])
    return groups


def check(prompts: Sequence[Prompt], vocab_size: int, max_context: int) -> None:
    """Raises RequestError for prompts of which a pass would make something wrong without a word."""
    if not prompts:
        raise RequestError("there is no prompt to prefill; expected at least one")
    rows = sorted(prompt.row for prompt in prompts)
    if not 0 <= rows[0] <= rows[-1] < DECODE_ROWS or len(set(rows)) < len(rows):
        raise RequestError(f"prompts have the rows {rows}; expected different ones from 0 to {DECODE_ROWS - 1}")
    for prompt in prompts:
        whose, length = f"the prompt in row {prompt.row}", len(prompt.ids)
        if length > max_context:
            raise RequestError(f"{whose} has {length} tokens; expected at most the context of {max_context}")
        if len(prompt.blocks) < blocks_for(length):
            raise RequestError(
                f"{whose} has {len(prompt.blocks)} blocks; its {length} tokens need {blocks_for(length)}"
            )
        for token in prompt.ids:
            if not 0 <= token < vocab_size:
                raise RequestError(f"{whose} has token id {token}; the vocabulary is 0 to {vocab_size - 1}")


class PrefillInputs:
    """The tensors of one chunk: positions start .. start + length - 1 of every prompt of a pass, padded to `length`."""

    def __init__(self, prompts: Sequence[Prompt], start: int, length: int, mesh: Mesh, rope: Rope) -> None:
        n_users, first, end = len(prompts), start // KV_BLOCK, (start + length) // KV_BLOCK
        ids = torch.zeros(n_users, length, dtype=torch.int32)
        table = torch.full((n_users, end), SKIP, dtype=torch.int32)
        last_TO = torch.zeros(1, 1, DECODE_ROWS, n_users * length)
        for user, prompt in enumerate(prompts):
            part = list(prompt.ids[start : start + length])
            ids[user, : len(part)] = torch.tensor(part, dtype=torch.int32)
            own = list(prompt.blocks[:end])
            table[user, : len(own)] = torch.tensor(own, dtype=torch.int32)
            last = len(prompt.ids) - 1 - start
            if 0 <= last < length:
                last_TO[..., prompt.row, user * length + last] = 1
        self.ids = mesh.put(ids.reshape(1, 1, 1, -1), ttnn.uint32, placement=Placement.SPLIT_COLUMNS)
        self.select_last = mesh.put(last_TO, ttnn.bfloat16, ttnn.TILE_LAYOUT, Placement.SPLIT_COLUMNS)
        self.chunk = PrefillChunk(
            n_users=n_users,
            start=start,
            length=length,
            rotation=rope.for_prefill(start, length),
            fill_table=mesh.put(table[:, first:], ttnn.int32),
            page_table=mesh.put(table.clamp(min=0), ttnn.int32),
            batch_indices=mesh.put(torch.arange(n_users, dtype=torch.int32), ttnn.int32),
        )

    def deallocate(self) -> None:
        self.chunk.rotation.deallocate()
        chunk = self.chunk
        for tensor in (self.ids, self.select_last, chunk.fill_table, chunk.page_table, chunk.batch_indices):
            ttnn.deallocate(tensor)
