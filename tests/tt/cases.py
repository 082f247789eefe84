"""Small models for the tests of tt/, whole on any of 1, 2, 4 or 8 chips, with weights that bf16 holds exactly."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import torch
import ttnn

from models.mixtral8x7b.config import MixtralConfig, MoeConfig, Routing
from models.mixtral8x7b.packing import pack
from models.mixtral8x7b.paging import KV_BLOCK, Prompt
from models.mixtral8x7b.reference.model import Transformer
from models.mixtral8x7b.tt.attention import Attention
from models.mixtral8x7b.tt.decode_state import table_width
from models.mixtral8x7b.tt.decoder import DecoderBlock
from models.mixtral8x7b.tt.kv_cache import KVCache
from models.mixtral8x7b.tt.layouts import residual
from models.mixtral8x7b.tt.mesh import Mesh, Placement, open_mesh
from models.mixtral8x7b.tt.precision import PERFORMANCE, Precision
from models.mixtral8x7b.tt.prefill import PrefillInputs
from models.mixtral8x7b.tt.rope import Rope
from models.mixtral8x7b.tt.steps import DecodeStep, PrefillPass
from models.mixtral8x7b.tt.weight_cache import CheckpointWeights
from tests.tiny_models import random_model, small_config

DEVICES = (1, 2, 4, 8)
EXACT = 1e-4  # of the largest logit: with rounding off only the order of additions differs


def sliceable_config(**changes: object) -> MixtralConfig:
    """Every slice over 8 chips is a whole number of tiles, as at full size."""
    values: dict = {
        "dim": 256,
        "n_heads": 16,
        "n_kv_heads": 8,
        "head_dim": 32,
        "hidden_dim": 64,
        "vocab_size": 512,
        "moe": MoeConfig(8, 2, Routing.RENORMALIZE),
        "max_seq_len": 4096,
    }
    return small_config(**(values | changes))


@cache
def reference(config: MixtralConfig, seed: int = 0) -> Transformer:
    model = random_model(config, seed)
    for weight in model.state_dict().values():
        weight.copy_(weight.bfloat16().float())
    return model


class InMemoryCheckpoint:
    """What CheckpointWeights needs of a repacked checkpoint, out of a reference model."""

    def __init__(self, model: Transformer) -> None:
        self.config = model.config
        self._weights = model.state_dict()

    def tensor(self, name: str) -> torch.Tensor:
        return self._weights[name]

    def n_parameters(self) -> int:
        return sum(weight.numel() for weight in self._weights.values())


def weights_of(model: Transformer, mesh: Mesh) -> CheckpointWeights:
    return CheckpointWeights(InMemoryCheckpoint(model), mesh, folder=None)  # type: ignore[arg-type]


@contextmanager
def exact_mesh(n_devices: int) -> Iterator[Mesh]:
    """A mesh on which nothing is rounded."""
    import ttnn_cpu

    with ttnn_cpu.exact_values(), open_mesh(n_devices) as mesh:
        yield mesh


def random_ids(config: MixtralConfig, *shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(3, config.vocab_size, shape, generator=torch.Generator().manual_seed(seed))


def assert_equal(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    """Within EXACT of the largest value."""
    assert ours.shape == theirs.shape
    worst, largest = (ours - theirs).abs().max().item(), theirs.abs().max().item()
    assert worst <= EXACT * largest, f"largest difference {worst:.2e}, largest value {largest:.2e}"


# ---------------------------------------------------------------- one module at a time


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


def normed_rows(config: MixtralConfig, n_positions: int, seed: int = 0) -> torch.Tensor:
    """Random input of a module after a norm, [32, n_positions, dim], exact in bf16."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(32, n_positions, config.dim, generator=generator).bfloat16().float()


def pcc(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Pearson correlation of all values together."""
    return float(torch.corrcoef(torch.stack((ours.flatten().double(), theirs.flatten().double())))[0, 1])


class Placed:
    """Rows, cache and page table for tests of attention: every row has its own blocks, taken from all over the pool."""

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

    def whole_pass(self, length: int) -> PrefillPass:
        """All 32 rows from position 0 on, `length` positions each."""
        blocks = self._blocks.tolist()
        prompts = [Prompt(row, [0] * length, blocks[row]) for row in range(32)]
        (one,) = pack(prompts)
        assert one.size == 32 * length
        return PrefillInputs(one, self._config, self._mesh, self._precision, self._rope, self._context).layout


def decode_with_cache(module: Attention | DecoderBlock, placed: Placed) -> Callable[[ttnn.Tensor], ttnn.Tensor]:
    """The module's decode forward of x alone, one position further at each call."""
    positions = itertools.count()
    return lambda x: module.forward_decode(x, placed.cache, placed.step(next(positions)))
