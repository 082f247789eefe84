"""Sampling on the chips: logits -> token ids, without the logits ever leaving.

Each chip takes its 32 best candidates, all chips gather all candidates, and each draws the same token from them (the
random numbers of a row come from the row's seed, alike on every chip). Hence top_k is at most 32.
"""

import math

import torch
import ttnn

from models.mixtral8x7b.sampling import MAX_TOP_K, SamplingParams
from models.mixtral8x7b.tt.layouts import DECODE_ROWS, NARROWEST_TOPK
from models.mixtral8x7b.tt.mesh import Mesh, Placement

SEED_RANGE = 1 << 31  # seeds that ttnn takes: below UINT32_MAX, which means "do not seed"
FEWEST_SAMPLED = 64  # candidates of all chips together: with 32, ttnn.sampling waits for a second tile for ever


class Sampler:
    """Holds every row's parameters on the chips; `set` overwrites them in place, so a recorded step sees new ones."""

    def __init__(self, vocab_size: int, mesh: Mesh) -> None:
        self._mesh = mesh
        self._columns = vocab_size // mesh.n_devices
        self._n_candidates = max(MAX_TOP_K, FEWEST_SAMPLED // mesh.n_devices)
        first = torch.arange(mesh.n_devices, dtype=torch.int32).reshape(-1, 1, 1, 1) * self._columns
        self._first_column = mesh.put(first, ttnn.int32, ttnn.TILE_LAYOUT, Placement.ONE_PER_DEVICE)
        self._top_k = mesh.put(torch.ones(DECODE_ROWS, dtype=torch.int32), ttnn.uint32)
        self._top_p = mesh.put(torch.ones(DECODE_ROWS), ttnn.bfloat16)
        self._inverse_temperature = mesh.put(torch.ones(DECODE_ROWS), ttnn.bfloat16)
        self._seeds = mesh.put(torch.zeros(DECODE_ROWS, dtype=torch.int32), ttnn.uint32)
        self._row_ids = mesh.put(torch.arange(DECODE_ROWS, dtype=torch.int32), ttnn.uint32)

    def set(self, rows: list[SamplingParams]) -> None:
        """One entry per row, 32 in all. Greedy is top_k 1, whatever the rest says."""
        top_k = [1 if row.temperature == 0 else row.top_k for row in rows]
        inverse = [1.0 if row.temperature == 0 else 1 / row.temperature for row in rows]
        self._mesh.update(self._top_k, torch.tensor(top_k, dtype=torch.int32))
        self._mesh.update(self._top_p, torch.tensor([row.top_p for row in rows]))
        self._mesh.update(self._inverse_temperature, torch.tensor(inverse))

    def seed(self, seeds: list[int]) -> None:
        """Starts every row's random numbers anew."""
        values = torch.tensor([seed % SEED_RANGE for seed in seeds], dtype=torch.int32)
        self._mesh.update(self._seeds, values)
        ttnn.manual_seed(self._seeds, user_ids=self._row_ids)

    def forward(self, logits: ttnn.Tensor, ids: ttnn.Tensor) -> None:
        """Logits [1, 1, 32, vocab_size / n] -> ids, uint32 [1, 1, 1, 32], in place. Frees logits."""
        candidates = self._pad_to_power_of_two(logits)
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

    def _pad_to_power_of_two(self, logits: ttnn.Tensor) -> ttnn.Tensor:
        """Columns of -inf up to a power of two, which top-k shares out over many cores [4000 -> 4096]. Frees logits."""
        width = max(NARROWEST_TOPK, 1 << (self._columns - 1).bit_length())
        if width == self._columns:
            return logits
        padding = [(0, 0), (0, 0), (0, 0), (0, width - self._columns)]
        padded = ttnn.pad(logits, padding, value=-math.inf, memory_config=ttnn.L1_MEMORY_CONFIG)
        ttnn.deallocate(logits)
        return padded
