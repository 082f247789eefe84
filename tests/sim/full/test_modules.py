"""Module by module on one simulated chip: the trained checkpoint's first layer, on the reference's own inputs."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from models.mixtral8x7b.checkpoint.repacked import RepackedCheckpoint
from models.mixtral8x7b.reference.model import Transformer
from models.mixtral8x7b.tokenizer import Tokenizer
from models.mixtral8x7b.tt.mesh import Mesh
from models.mixtral8x7b.tt.precision import PRESETS
from models.mixtral8x7b.tt.weight_cache import CheckpointWeights
from tests import tiny_texts
from tests.thresholds import module_pcc
from tests.tt.cases import pcc, run_decode, run_prefill
from tests.tt.modules import modules

pytestmark = [pytest.mark.router_and_sampler, pytest.mark.timeout(0)]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(("run", "positions"), [(run_decode, 2), (run_prefill, 32)], ids=["decode", "prefill"])
def test_modules(
    run: Callable,
    positions: int,
    preset: str,
    mesh: Mesh,
    repacked: Path,
    record_property: Callable[[str, object], None],
) -> None:
    """60 s for 32 rows: attention's norm, attention, the experts with their router, the whole layer."""
    seen: dict[str, torch.Tensor] = {}
    rows = torch.tensor(tiny_texts.stories(Tokenizer(repacked), positions).rows)[:, :positions]
    Transformer.from_repacked(repacked)(rows, observe=seen.__setitem__)
    seen["layers.0.input"] = seen["embedding"]
    weights = CheckpointWeights(RepackedCheckpoint(repacked), mesh, None)
    for module in modules(weights, mesh, PRESETS[preset], 0, positions, run is run_decode):
        found = pcc(run(mesh, module.forward, seen[module.given]), seen[module.expected])
        record_property(module.name, f"PCC {found:.6f}")
        assert found >= module_pcc(module.name, preset)
