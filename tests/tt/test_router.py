import pytest
import torch
import ttnn

from models.mixtral8x7b.config import MoeConfig, Routing
from models.mixtral8x7b.reference.router import route
from models.mixtral8x7b.tt.layouts import residual
from models.mixtral8x7b.tt.mesh import Mesh, Placement
from models.mixtral8x7b.tt.precision import PERFORMANCE
from models.mixtral8x7b.tt.router import Router
from tests.tt.cases import DEVICES, exact_mesh, normed_rows, reference, sliceable_config, weights_of


def expected_weights(model, x_ND: torch.Tensor) -> torch.Tensor:
    """The reference's weight of every expert for every token, [N, E]; 0 where it is not chosen."""
    weights, chosen = route(model.layers[0].feed_forward.gate(x_ND), model.config.moe)
    return torch.zeros(len(x_ND), model.config.moe.num_experts).scatter(1, chosen, weights)


def tt_weights(mesh: Mesh, router: Router, x_ND: torch.Tensor, decode: bool) -> torch.Tensor:
    """The same from the chips: each slot's weights are read from every chip in turn, [N, E]."""
    x = x_ND[None, None]
    if decode:
        slots = router.forward_decode(mesh.put(x, ttnn.bfloat16, ttnn.TILE_LAYOUT, memory_config=residual(x.shape[-1])))
    else:
        slots = router.forward_prefill(mesh.put(x, ttnn.bfloat16, ttnn.TILE_LAYOUT, Placement.SPLIT_ROWS))
    by_slot = [[ttnn.to_torch(part)[0, 0, :, 0].float() for part in ttnn.get_device_tensors(slot)] for slot in slots]
    return torch.stack([by_slot[slot][chip] for chip in range(mesh.n_devices) for slot in range(len(slots))], dim=1)


@pytest.mark.parametrize("n_devices", DEVICES)
@pytest.mark.parametrize("routing", list(Routing))
@pytest.mark.parametrize(("experts", "chosen"), [(8, 2), (8, 3), (16, 1)])
def test_weights_of_every_expert_equal_reference(n_devices: int, routing: Routing, experts: int, chosen: int) -> None:
    model = reference(sliceable_config(moe=MoeConfig(experts, chosen, routing)))
    x = normed_rows(model.config, 8).flatten(0, 1)
    with exact_mesh(n_devices) as mesh:
        router = Router(weights_of(model, mesh), mesh, PERFORMANCE, 0)
        torch.testing.assert_close(tt_weights(mesh, router, x[:32], True), expected_weights(model, x[:32]))
        torch.testing.assert_close(tt_weights(mesh, router, x, False), expected_weights(model, x))


@pytest.mark.parametrize("decode", [True, False])
def test_ties_go_to_the_lowest_expert_with_rounding_on(decode: bool) -> None:
    """Experts 2, 5 and 6 have the same row: where they lead, 2 and 5 are chosen, one half each, on every chip."""
    import copy

    from models.mixtral8x7b.tt.mesh import open_mesh

    model = copy.deepcopy(reference(sliceable_config()))
    gate = model.layers[0].feed_forward.gate.weight
    gate[:] = 0
    gate[[2, 5, 6]] = 0.125
    x = torch.ones(256, model.config.dim)
    with open_mesh(8) as mesh:
        weights = tt_weights(
            mesh, Router(weights_of(model, mesh), mesh, PERFORMANCE, 0), x[:32] if decode else x, decode
        )
    assert torch.equal(weights, torch.tensor([0, 0, 0.5, 0, 0, 0.5, 0, 0]).expand_as(weights))
