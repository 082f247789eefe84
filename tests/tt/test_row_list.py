"""Each expert on its own rows: the lists, whatever the routing, and the MoE's output, which is the dense one."""

from collections.abc import Iterator

import pytest
import torch
import ttnn

from models.mixtral8x7b.config import MoeConfig
from models.mixtral8x7b.tt.mesh import Mesh, Placement
from models.mixtral8x7b.tt.moe import MoE
from models.mixtral8x7b.tt.precision import PERFORMANCE
from models.mixtral8x7b.tt.row_list import RowLister, block_rows
from tests.tt.cases import assert_equal, exact_mesh, reference, sliceable_config, weights_of

SIZES = (256, 2048, 8192)


@pytest.fixture(scope="module", params=[1, 8])
def mesh(request: pytest.FixtureRequest) -> Iterator[Mesh]:
    with exact_mesh(request.param) as mesh:
        yield mesh


def weights_like(kind: str, chips: int, size: int) -> torch.Tensor:
    """Weights of the rows on each chip, [chips, 1, size, 1]."""
    generator = torch.Generator().manual_seed(size)
    values = torch.rand(chips, 1, size, 1, generator=generator) * 0.9 + 0.05
    chosen = {
        "a quarter": torch.rand(chips, 1, size, 1, generator=generator) < 0.25,
        "all": torch.ones(chips, 1, size, 1, dtype=torch.bool),
        "none": torch.zeros(chips, 1, size, 1, dtype=torch.bool),
        "the last": torch.arange(size).view(1, 1, size, 1).expand(chips, -1, -1, -1) == size - 1,
        "one more than a block": torch.arange(size).view(1, 1, size, 1).expand(chips, -1, -1, -1) % 7 == 0,
    }
    return (values * chosen[kind]).bfloat16().float()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["a quarter", "all", "none", "the last", "one more than a block"])
def test_the_list_has_every_row_once(mesh: Mesh, kind: str, size: int) -> None:
    weights = weights_like(kind, mesh.n_devices, size)
    lister = RowLister(size, mesh, PERFORMANCE.router)
    column = mesh.put(weights, ttnn.bfloat16, ttnn.TILE_LAYOUT, Placement.ONE_PER_DEVICE)
    rows = lister.list_rows(column)
    parts = [
        [ttnn.to_torch(part) for part in ttnn.get_device_tensors(t)] for t in (rows.order, rows.place, rows.in_use)
    ]
    for chip, (order, place, in_use) in enumerate(zip(*parts, strict=True)):
        own = weights[chip].flatten().nonzero().flatten()
        assert torch.equal(order[0, : len(own)].long(), own)
        assert torch.equal(place[0, own].long(), torch.arange(len(own)))
        assert int(place.long().max()) < size
        used = -(-len(own) // block_rows(size))
        assert (in_use.flatten() != 0).tolist() == [n < used for n in range(size // block_rows(size))]


def routed(kind: str, experts: int, size: int, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows [size, dim], and the columns of a router [experts, dim] that sends them as the kind says."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(size, dim, generator=generator)
    gate = torch.randn(experts, dim, generator=generator) / dim**0.5
    if kind == "all to the same two":
        x[:, 0], gate[:, 0] = 8.0, torch.tensor([4.0, -4.0] + [0.0] * (experts - 2)).roll(3)
        gate[5, 0] = 3.0
    if kind == "one expert unused":
        x[:, 0], gate[2, 0] = 8.0, -9.0
    if kind == "ties":
        gate[4:] = gate[: experts - 4].clone()
    return x.bfloat16().float(), gate.bfloat16().float()


@pytest.mark.parametrize("kind", ["uniform", "all to the same two", "one expert unused", "ties"])
@pytest.mark.parametrize("moe", [MoeConfig(8, 2), MoeConfig(16, 3)], ids=["2 of 8", "3 of 16"])
def test_own_rows_give_what_all_rows_give(mesh: Mesh, kind: str, moe: MoeConfig) -> None:
    size, config = 1024, sliceable_config(moe=moe)
    model = reference(config, seed=3)
    x, gate = routed(kind, moe.num_experts, size, config.dim)
    model.layers[0].feed_forward.gate.weight.copy_(gate)
    expected = model.layers[0].feed_forward(x)
    layer = MoE(weights_of(model, mesh), mesh, PERFORMANCE, 0)
    lister = RowLister(size, mesh, PERFORMANCE.router)

    def forward(lister: RowLister | None) -> torch.Tensor:
        rows = mesh.put(x[None, None], ttnn.bfloat16, ttnn.TILE_LAYOUT, Placement.SPLIT_ROWS)
        return mesh.read_rows(layer.forward_prefill(rows, lister))[0, 0].float()

    assert_equal(forward(None), expected)
    assert_equal(forward(lister), expected)
