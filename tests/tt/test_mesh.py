"""Opening a mesh: how many chips, which fabric."""

import pytest
import torch
import ttnn

from models.mixtral8x7b.config import ConfigError
from models.mixtral8x7b.settings import chosen_fabric
from models.mixtral8x7b.tt.layouts import head_cores
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


def test_an_option_beats_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MIXTRAL_FABRIC", raising=False)
    assert chosen_fabric(None) == "ring"
    monkeypatch.setenv("MIXTRAL_FABRIC", "line")
    assert (chosen_fabric(None), chosen_fabric("ring")) == ("line", "ring")


@pytest.mark.parametrize(
    ("columns", "head_dim", "cores"),
    [(768, 128, 24), (6144, 128, 48), (1024, 32, 32), (192, 32, 6), (8192, 128, 64), (3072, 96, 32)],
)
def test_no_core_has_parts_of_two_heads(columns: int, head_dim: int, cores: int) -> None:
    """[Mixtral on 8 chips; on one; the tiny checkpoint; ..]: 64 cores would have 96 of 128 columns of a head."""
    assert head_cores(columns, head_dim) == cores
