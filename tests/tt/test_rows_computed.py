"""How many rows the experts of a pass of 16384 compute, from the lists of blocks, beside the fewest that there can be.

.venv/bin/python -m pytest tests/tt/test_rows_computed.py -s
"""

from pathlib import Path

import pytest
import torch
import ttnn

from models.mixtral8x7b.checkpoint.tiny import tiny_checkpoint
from models.mixtral8x7b.config import MoeConfig
from models.mixtral8x7b.packing import LARGEST_PASS
from models.mixtral8x7b.reference.model import Transformer
from models.mixtral8x7b.reference.router import route
from models.mixtral8x7b.tokenizer import Tokenizer
from models.mixtral8x7b.tt.mesh import Mesh, Placement, open_mesh
from models.mixtral8x7b.tt.precision import PERFORMANCE
from models.mixtral8x7b.tt.row_list import RowLister, block_rows
from tests import tiny_texts

MOE = MoeConfig(8, 2)
IDEAL = LARGEST_PASS * MOE.num_experts_per_tok // MOE.num_experts  # rows of a chip, if all had as many


def uniform() -> list[torch.Tensor]:
    return [torch.rand(LARGEST_PASS, 8, generator=torch.Generator().manual_seed(1))]


def hostile() -> list[torch.Tensor]:
    """All tokens to the same two experts."""
    return [torch.arange(8.0).expand(LARGEST_PASS, 8)]


def of_stories(folder: Path) -> list[torch.Tensor]:
    """Of every layer of the trained tiny model, on 32 stories of 512 tokens."""
    repacked = tiny_checkpoint("instruct", folder)
    ids = tiny_texts.stories(Tokenizer(repacked), LARGEST_PASS // 32).padded()[:, :-1]
    seen: dict[str, torch.Tensor] = {}
    Transformer.from_repacked(repacked)(ids, observe=seen.__setitem__)
    return [value for name, value in seen.items() if name.endswith("router_logits")]


def rows_computed(mesh: Mesh, logits_NE: torch.Tensor) -> list[int]:
    """On each of 8 chips."""
    shares_NA, chosen_NA = route(logits_NE, MOE)
    weights_NE = torch.zeros(len(logits_NE), 8).scatter(1, chosen_NA, shares_NA)
    of_chips = mesh.put(weights_NE.T[:, None, :, None], ttnn.bfloat16, ttnn.TILE_LAYOUT, Placement.ONE_PER_DEVICE)
    rows = RowLister(len(logits_NE), mesh, PERFORMANCE.router).list_rows(of_chips)
    in_use = [int(ttnn.to_torch(part).count_nonzero()) for part in ttnn.get_device_tensors(rows.in_use)]
    return [blocks * block_rows(len(logits_NE)) for blocks in in_use]


@pytest.mark.parametrize("routing", ["uniform", "hostile", "stories"])
def test_rows_computed(routing: str, tmp_path: Path) -> None:
    """The dense program computes 4 times the ideal on every chip."""
    layers = {"uniform": uniform, "hostile": hostile, "stories": lambda: of_stories(tmp_path)}[routing]()
    with open_mesh(8) as mesh:
        for layer, logits in enumerate(layers):
            rows = rows_computed(mesh, logits)
            mean, busiest = sum(rows) / 8 / IDEAL, max(rows) / IDEAL
            print(f"\n{routing}, layer {layer}: mean {mean:.2f}, busiest chip {busiest:.2f} times the ideal", end="")
            assert 1 <= mean <= 1.4
            assert busiest <= 4
