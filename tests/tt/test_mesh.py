"""Opening a mesh: how many chips, which fabric."""

import pytest
import torch
import ttnn

from models.mixtral8x7b.config import ConfigError
from models.mixtral8x7b.tt.layouts import decode_matmul, even_columns, head_cores, vocabulary_pieces
from models.mixtral8x7b.tt.mesh import FABRICS, Placement, open_mesh


@pytest.mark.parametrize("fabric", FABRICS)
def test_both_fabrics_join_the_chips(fabric: str) -> None:
    parts = torch.arange(8 * 32 * 32).view(8, 1, 32, 32) % 7
    with open_mesh(8, fabric) as mesh:
        x = mesh.put(parts.float(), ttnn.bfloat16, ttnn.TILE_LAYOUT, Placement.ONE_PER_DEVICE)
        assert torch.equal(mesh.read_replicated(mesh.gather_rows(x)).float().view(8, 1, 32, 32), parts.float())


def test_what_cannot_be_opened_is_named() -> None:
    with pytest.raises(ConfigError, match="the fabric is 'star'; expected one of ring, line"), open_mesh(8, "star"):
        pass
    with pytest.raises(ConfigError, match="3 chips; expected one of 1, 2, 4, 8"), open_mesh(3):
        pass


@pytest.mark.parametrize(
    ("columns", "head_dim", "cores"),
    [(768, 128, 24), (6144, 128, 48), (1024, 32, 32), (192, 32, 6), (8192, 128, 64), (3072, 96, 32)],
)
def test_no_core_has_parts_of_two_heads(columns: int, head_dim: int, cores: int) -> None:
    """[Mixtral on 8 chips; on one; the tiny checkpoint; ..]: 64 cores would have 96 of 128 columns of a head."""
    assert head_cores(columns, head_dim) == cores


@pytest.mark.parametrize(
    ("columns", "padded"),
    [(4000, 4000), (14336, 14336), (1, 32), (33, 64), (64 * 32, 64 * 32), (67 * 32, 68 * 32), (7125, 7168)],
)
def test_padded_columns_are_shared_by_many_cores(columns: int, padded: int) -> None:
    assert even_columns(columns) == padded


@pytest.mark.parametrize(
    ("vocab_size", "n_devices", "pieces"),
    [(32000, 8, (1, 4000)), (32002, 8, (1, 4032)), (64, 8, (1, 32)), (32000, 1, (1, 32000)), (57000, 1, (2, 28512))],
)
def test_shares_of_the_vocabulary(vocab_size: int, n_devices: int, pieces: tuple[int, int]) -> None:
    assert vocabulary_pieces(vocab_size, n_devices) == pieces


@pytest.mark.parametrize(
    ("shape", "dtype", "block"),
    [
        ((4096, 14336, 32, 64), ttnn.bfloat8_b, 4),
        ((4096, 14336, 32, 64), ttnn.bfloat4_b, 8),
        ((14336, 4096, 64, 32), ttnn.bfloat8_b, 7),
        ((512, 4096, 4, 32), ttnn.bfloat16, 8),
        ((4096, 4000, 32, 25), ttnn.bfloat16, 8),
        ((96, 32, 3, 1), ttnn.bfloat8_b, 3),
        ((4096, 32000, 32, 50), ttnn.bfloat8_b, 2),
        ((4096, 32000, 32, 50), ttnn.bfloat16, 1),
    ],
)
def test_what_a_core_reads_at_a_time_fits_in_its_l1(shape: tuple[int, ...], dtype: ttnn.DataType, block: int) -> None:
    """[w1 twice; w2; wo; the LM head; a model of 96; the LM head of one chip alone in both presets]"""
    assert decode_matmul(*shape, banks=12, dtype=dtype).in0_block_w == block
