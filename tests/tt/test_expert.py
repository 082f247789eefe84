"""Every expert, not the first only: a swap of two must fail here."""

import pytest
import torch
import ttnn

from models.mixtral8x7b.tt.expert import Expert
from models.mixtral8x7b.tt.layouts import residual
from models.mixtral8x7b.tt.mesh import open_mesh
from models.mixtral8x7b.tt.precision import PERFORMANCE, PRESETS, Precision
from tests.tt.cases import DEVICES, assert_equal, exact_mesh, normed_rows, reference, sliceable_config, weights_of


@pytest.mark.parametrize("n_devices", DEVICES)
@pytest.mark.parametrize("decode", [True, False], ids=["decode", "prefill"])
def test_every_expert_of_every_layer_equals_reference(n_devices: int, decode: bool) -> None:
    model, x = reference(sliceable_config()), normed_rows(sliceable_config(), 1)[:, 0]
    slots = 8 // n_devices
    with exact_mesh(n_devices) as mesh:
        for layer in range(model.config.n_layers):
            for slot in range(slots):
                expert = Expert(weights_of(model, mesh), mesh, PERFORMANCE, layer, slot)
                if decode:
                    layout = residual(model.config.dim)
                    rows = mesh.put(x[None, None], ttnn.bfloat16, ttnn.TILE_LAYOUT, memory_config=layout)
                    out = expert.forward_decode(rows)
                else:
                    out = expert.forward_prefill(mesh.put(x[None, None], ttnn.bfloat8_b, ttnn.TILE_LAYOUT))
                for chip, part in enumerate(ttnn.get_device_tensors(out)):
                    theirs = model.layers[layer].feed_forward.experts[chip * slots + slot](x)
                    assert_equal(ttnn.to_torch(part)[0, 0].float(), theirs)


def test_no_two_experts_are_alike() -> None:
    """Otherwise the test above would not see a swap."""
    model, x = reference(sliceable_config()), normed_rows(sliceable_config(), 1)[:, 0]
    outs = torch.stack([expert(x) for layer in model.layers for expert in layer.feed_forward.experts])
    apart = torch.cdist(outs.flatten(1), outs.flatten(1))
    assert apart[~torch.eye(len(outs), dtype=torch.bool)].min() > 0.1 * outs.norm(dim=(1, 2)).max()


@pytest.mark.parametrize("precision", PRESETS.values(), ids=PRESETS)
def test_blocks_are_rounded_no_worse_than_all_rows(precision: Precision) -> None:
    """With rounding on, against float32 with the weights and rows as they are stored."""
    model, generator = reference(sliceable_config(hidden_dim=512)), torch.Generator().manual_seed(5)
    with open_mesh(8) as mesh:
        expert = Expert(weights_of(model, mesh), mesh, precision, 0, 0)
        x = torch.randn(2, 1, 256, model.config.dim, generator=generator)
        rows = mesh.put(x.view(1, 1, 512, -1), ttnn.bfloat8_b, ttnn.TILE_LAYOUT)
        given = mesh.read_replicated(rows)[0, 0].float()
        w1, w2, w3 = (
            ttnn.to_torch(ttnn.get_device_tensors(m.weight)[0])[0, 0] for m in (expert.w1, expert.w2, expert.w3)
        )
        exact = (torch.nn.functional.silu(given @ w1.float()) * (given @ w3.float())) @ w2.float()
        dense = expert.forward_prefill(rows)
        blocks = mesh.put(x, ttnn.bfloat8_b, ttnn.TILE_LAYOUT)
        listed = expert.forward_blocks(blocks, mesh.put(torch.ones(1, 1, 2, 1), ttnn.bfloat16))
        errors = [
            float((ttnn.to_torch(ttnn.get_device_tensors(out)[0]).flatten(0, 2).float() - exact).norm() / exact.norm())
            for out in (dense, listed)
        ]
    dense_error, blocks_error = errors
    assert 0.001 < blocks_error < 1.02 * dense_error < 0.025  # 1.16 times with a gate in bfp8
