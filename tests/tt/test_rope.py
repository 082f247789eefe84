"""Rotary tables by value: a shift of all positions alike changes no attention score, so no other test would see it."""

import pytest
import torch
import ttnn

from models.mixtral8x7b.reference.rope import apply_rope, rope_tables
from models.mixtral8x7b.tt.mesh import Mesh, open_mesh
from models.mixtral8x7b.tt.rope import Rope, Rotation
from tests.tt.cases import exact_mesh, sliceable_config

CONFIG = sliceable_config(head_dim=64)
COS, SIN = rope_tables(CONFIG, CONFIG.max_seq_len)


def test_tables_are_cos_and_sin_of_position_times_frequency() -> None:
    for position, pair in ((0, 0), (1, 0), (1, 5), (4095, 31), (4000, 3)):
        angle = torch.tensor(position * CONFIG.rope_theta ** (-2 * pair / CONFIG.head_dim), dtype=torch.float64)
        assert COS[position, pair] == angle.cos().float()
        assert SIN[position, pair] == angle.sin().float()


def test_decode_gets_the_row_of_each_position() -> None:
    positions = torch.randint(0, CONFIG.max_seq_len, (32,), generator=torch.Generator().manual_seed(0))
    positions[:3] = torch.tensor([0, 1, CONFIG.max_seq_len - 1])
    with exact_mesh(8) as mesh:
        rotation = Rope(CONFIG, mesh).for_decode(mesh.put(positions.int().repeat(2)[None], ttnn.uint32))
        for table, expected in ((rotation.cos, COS), (rotation.sin, SIN)):
            rows = mesh.read_replicated(table)[0, :, 0]
            assert torch.equal(rows, expected[positions].repeat(2, 1).repeat_interleave(2, dim=-1))


def in_pass(rope: Rope, mesh: Mesh, positions: torch.Tensor) -> Rotation:
    return rope.for_prefill(mesh.put(positions.int()[None], ttnn.uint32))


@pytest.mark.parametrize("size", [256, 1024])
def test_each_row_of_a_pass_gets_that_of_its_position(size: int) -> None:
    positions = torch.randint(0, CONFIG.max_seq_len, (size,), generator=torch.Generator().manual_seed(0))
    positions[:2] = torch.tensor([0, CONFIG.max_seq_len - 1])
    with exact_mesh(8) as mesh:
        rotation = in_pass(Rope(CONFIG, mesh), mesh, positions)
        for table, expected in ((rotation.cos, COS), (rotation.sin, SIN)):
            rows = mesh.read_replicated(table)[0, 0]
            assert torch.equal(rows, expected[positions].repeat_interleave(2, dim=-1))


def test_turning_equals_reference() -> None:
    """With ttnn's own operation, the tables and the swap matrix: heads [1, H, S, K] at positions 256 and up."""
    heads = torch.randn(1, 2, 128, CONFIG.head_dim, generator=torch.Generator().manual_seed(0))
    with exact_mesh(1) as mesh:
        rotation = in_pass(Rope(CONFIG, mesh), mesh, torch.arange(256, 384))
        turned = ttnn.experimental.rotary_embedding_llama(
            mesh.put(heads, ttnn.bfloat16, ttnn.TILE_LAYOUT), rotation.cos, rotation.sin, rotation.swap
        )
        expected = apply_rope(heads.transpose(1, 2), COS[256:384], SIN[256:384]).transpose(1, 2)
        torch.testing.assert_close(ttnn.to_torch(turned), expected, rtol=0, atol=1e-5)


def test_tables_are_bf16_with_rounding_on() -> None:
    with open_mesh(1) as mesh:
        rotation = in_pass(Rope(CONFIG, mesh), mesh, torch.arange(128))
        assert torch.equal(ttnn.to_torch(rotation.cos)[0, 0, :, ::2].float(), COS[:128].bfloat16().float())
