"""One module at a time: its rows, the cache it reads, the page table; for tests as well."""

import itertools
from collections.abc import Callable

import torch
import ttnn

from models.mixtral8x7b.config import MixtralConfig
from models.mixtral8x7b.first_light.random_models import InMemoryCheckpoint
from models.mixtral8x7b.packing import pack
from models.mixtral8x7b.paging import KV_BLOCK, Prompt
from models.mixtral8x7b.reference.model import Transformer
from models.mixtral8x7b.tt.attention import Attention
from models.mixtral8x7b.tt.decode_state import table_width
from models.mixtral8x7b.tt.decoder import DecoderBlock
from models.mixtral8x7b.tt.kv_cache import KVCache
from models.mixtral8x7b.tt.layouts import residual
from models.mixtral8x7b.tt.mesh import Mesh, Placement
from models.mixtral8x7b.tt.precision import PERFORMANCE, Precision
from models.mixtral8x7b.tt.prefill import PrefillInputs
from models.mixtral8x7b.tt.rope import Rope
from models.mixtral8x7b.tt.steps import DecodeStep, PrefillPass
from models.mixtral8x7b.tt.weight_cache import CheckpointWeights


def weights_of(model: Transformer, mesh: Mesh) -> CheckpointWeights:
    """A model's weights for the layers, without a folder."""
    in_memory = InMemoryCheckpoint(model.config, model.state_dict())
    return CheckpointWeights(in_memory, mesh, folder=None)  # type: ignore[arg-type]


def run_decode(mesh: Mesh, module: Callable[[ttnn.Tensor], ttnn.Tensor], x_RPD: torch.Tensor) -> torch.Tensor:
    """Puts P positions of 32 rows through a decode forward, one after the other -> [32, P, width of its result]."""
    outs = []
    for x_RD in x_RPD.unbind(1):
        rows = mesh.put(x_RD[None, None], ttnn.bfloat16, ttnn.TILE_LAYOUT, memory_config=residual(x_RPD.shape[-1]))
        outs.append(mesh.read_replicated(module(rows))[0, 0].float())
    return torch.stack(outs, dim=1)


def run_prefill(mesh: Mesh, module: Callable[[ttnn.Tensor], ttnn.Tensor], x_RPD: torch.Tensor) -> torch.Tensor:
    """Puts all rows through a prefill forward at once, 1/n of them on each chip -> [R, P, width of its result]."""
    flat = x_RPD.flatten(0, 1)[None, None]
    out = module(mesh.put(flat, ttnn.bfloat16, ttnn.TILE_LAYOUT, Placement.SPLIT_ROWS))
    return mesh.read_rows(out)[0, 0].float().view(*x_RPD.shape[:2], -1)


class Placed:
    """Rows, cache and page table for attention: every row has its own blocks, taken from all over the pool."""

    def __init__(self, config: MixtralConfig, mesh: Mesh, n_positions: int, precision: Precision = PERFORMANCE) -> None:
        per_row = table_width(n_positions)
        shuffled = torch.randperm(32 * per_row, generator=torch.Generator().manual_seed(3)).view(32, per_row)
        self._precision = precision
        self._mesh, self._config, self._context = mesh, config, per_row * KV_BLOCK
        self._rope = Rope(config, mesh)
        self._blocks = shuffled.int()
        self._page_table = mesh.put(self._blocks, ttnn.int32)
        self.cache = KVCache(config, mesh, 32 * per_row, precision.kv_cache)

    def step(self, position: int) -> DecodeStep:
        """All 32 rows at one position."""
        rotation = self._rope.for_decode(self._mesh.put(torch.full((1, 64), position, dtype=torch.int32), ttnn.uint32))
        return DecodeStep(
            rotation, self._mesh.put(torch.full((32,), position, dtype=torch.int32), ttnn.int32), self._page_table
        )

    def whole_pass(self, length: int, rows: int = 32) -> PrefillPass:
        """The first rows from position 0 on, `length` positions each."""
        blocks = self._blocks.tolist()
        prompts = [Prompt(row, [0] * length, blocks[row]) for row in range(rows)]
        (one,) = pack(prompts)
        assert one.size == rows * length
        return PrefillInputs(one, self._config, self._mesh, self._precision, self._rope, self._context).layout


def decode_with_cache(module: Attention | DecoderBlock, placed: Placed) -> Callable[[ttnn.Tensor], ttnn.Tensor]:
    """The module's decode forward of x alone, one position further at each call."""
    positions = itertools.count()
    return lambda x: module.forward_decode(x, placed.cache, placed.step(next(positions)))
