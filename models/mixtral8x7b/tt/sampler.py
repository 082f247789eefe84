"""Sampling on the chips: logits -> token ids, without the logits ever leaving.

Each chip takes its 32 best candidates, all chips gather all candidates, and each draws the same token from them (the
random number of a row comes from the row's seed, alike on every chip). Hence top_k is at most 32.

The generators are seeded anew for every token, with a number of the request's seed plus the token's index: what a row
draws depends on nothing else, not on the row, nor on who was there before. The kernel hashes what a generator gives, so
that neighbouring seeds are unrelated draws.

Columns that are no token are out of reach before candidates are taken: those that fill up the vocabulary and those that
the tokenizer does not have by adding NEVER, those up to a power of two as -inf.
"""

import math
from collections.abc import Sequence

import torch
import ttnn

from models.mixtral8x7b.sampling import MAX_TOP_K, SamplingParams, mixed_seed
from models.mixtral8x7b.tt.layouts import DECODE_ROWS, NARROWEST_TOPK, NEVER
from models.mixtral8x7b.tt.mesh import Mesh, Placement

FEWEST_SAMPLED = 64  # candidates of all chips together: with 32, ttnn.sampling waits for a second tile for ever


class Sampler:
    """Holds every row's parameters on the chips; `set` overwrites them in place, so a recorded step sees new ones.

    The logits have n_columns on all chips together, of which the first n_tokens may be drawn (None: all).
    """

    def __init__(self, n_columns: int, mesh: Mesh, n_tokens: int | None = None) -> None:
        self._mesh = mesh
        self._columns = n_columns // mesh.n_devices
        self._barrier = None if n_tokens in (None, n_columns) else self._put_barrier(n_columns, n_tokens)
        self._n_candidates = max(MAX_TOP_K, FEWEST_SAMPLED // mesh.n_devices)
        first = torch.arange(mesh.n_devices, dtype=torch.int32).reshape(-1, 1, 1, 1) * self._columns
        self._first_column = mesh.put(first, ttnn.int32, ttnn.TILE_LAYOUT, Placement.ONE_PER_DEVICE)
        self._top_k = mesh.put(torch.ones(DECODE_ROWS, dtype=torch.int32), ttnn.uint32)
        self._top_p = mesh.put(torch.ones(DECODE_ROWS), ttnn.bfloat16)
        self._inverse_temperature = mesh.put(torch.ones(DECODE_ROWS), ttnn.bfloat16)
        self._seeds = mesh.put(torch.zeros(DECODE_ROWS, dtype=torch.int32), ttnn.uint32)
        self._row_ids = mesh.put(torch.arange(DECODE_ROWS, dtype=torch.int32), ttnn.uint32)
        self._drawn = mesh.put(torch.zeros(1, 1, 1, DECODE_ROWS, dtype=torch.int32), ttnn.uint32)

    def set(self, rows: Sequence[SamplingParams], indices: Sequence[int] = (0,) * DECODE_ROWS) -> None:
        """What each row asks for and the index of its next token, 0 the first that is drawn for it; 32 of both.

        Greedy is top_k 1, whatever the rest says.
        """
        top_k = [1 if row.temperature == 0 else row.top_k for row in rows]
        inverse = [1.0 if row.temperature == 0 else 1 / row.temperature for row in rows]
        seeds = [mixed_seed(row.seed) + index for row, index in zip(rows, indices, strict=True)]
        self._mesh.update(self._top_k, torch.tensor(top_k, dtype=torch.int32))
        self._mesh.update(self._top_p, torch.tensor([row.top_p for row in rows]))
        self._mesh.update(self._inverse_temperature, torch.tensor(inverse))
        self._mesh.update(self._seeds, torch.tensor(seeds, dtype=torch.int32))

    def advance(self) -> None:
        """Every row's next token has the next index, on the chips."""
        ttnn.plus_one(self._seeds)

    def draw(self, logits: ttnn.Tensor) -> list[int]:
        """One id of every row, on the host; indices stay. Frees logits."""
        self.forward(logits, self._drawn)
        return [int(token) for token in self._mesh.read_replicated(self._drawn).flatten().tolist()]

    def forward(self, logits: ttnn.Tensor, ids: ttnn.Tensor) -> None:
        """Logits [1, 1, 32, n_columns / n] -> ids, uint32 [1, 1, 1, 32], in place; indices stay. Frees logits."""
        candidates = self._pad_to_power_of_two(self._only_tokens(logits))
        # Stable: of equal logits the lowest id is first; and the other kernel leaves the vector unit in a mode in which
        # `sampling` would draw its random numbers wrong.
        best, places = ttnn.topk(candidates, self._n_candidates, dim=-1, largest=True, sorted=True, stable=True)
        ttnn.deallocate(candidates)
        signed = ttnn.typecast(places, ttnn.int32)
        ttnn.deallocate(places)
        tokens = ttnn.add(signed, self._first_column, memory_config=ttnn.L1_MEMORY_CONFIG)
        ttnn.deallocate(signed)
        all_best = self._mesh.gather_columns(best, ttnn.L1_MEMORY_CONFIG)
        all_tokens = self._mesh.gather_columns(tokens, ttnn.L1_MEMORY_CONFIG)
        listed = ttnn.untilize(all_tokens, use_multicore=True)
        ttnn.deallocate(all_tokens)
        ttnn.deallocate(ttnn.manual_seed(self._seeds, user_ids=self._row_ids))
        ttnn.sampling(
            all_best,
            listed,
            k=self._top_k,
            p=self._top_p,
            temp=self._inverse_temperature,
            output_tensor=ids,
        )
        ttnn.deallocate(all_best)
        ttnn.deallocate(listed)

    def _put_barrier(self, n_columns: int, n_tokens: int) -> ttnn.Tensor:
        """0 for a token and NEVER for the rest, bf16 [1, 1, 32, n_columns / n], other columns on each chip."""
        barrier = torch.zeros(1, 1, DECODE_ROWS, n_columns)
        barrier[..., n_tokens:] = NEVER
        return self._mesh.put(barrier, ttnn.bfloat16, ttnn.TILE_LAYOUT, Placement.SPLIT_COLUMNS)

    def _only_tokens(self, logits: ttnn.Tensor) -> ttnn.Tensor:
        """Logits in which no column wins that is no token. Frees logits."""
        if self._barrier is None:
            return logits
        masked = ttnn.add(logits, self._barrier, memory_config=ttnn.L1_MEMORY_CONFIG)
        ttnn.deallocate(logits)
        return masked

    def _pad_to_power_of_two(self, logits: ttnn.Tensor) -> ttnn.Tensor:
        """Columns of -inf up to a power of two, which top-k shares out over many cores [4000 -> 4096]. Frees logits."""
        width = max(NARROWEST_TOPK, 1 << (self._columns - 1).bit_length())
        if width == self._columns:
            return logits
        padding = [(0, 0), (0, 0), (0, 0), (0, width - self._columns)]
        padded = ttnn.pad(logits, padding, value=-math.inf, memory_config=ttnn.L1_MEMORY_CONFIG)
        ttnn.deallocate(logits)
        return padded
