import pytest

from models.mixtral8x7b.config import MoeConfig, Routing
from models.mixtral8x7b.tt.moe import MoE
from models.mixtral8x7b.tt.precision import PERFORMANCE
from tests.tt.cases import (
    DEVICES,
    assert_equal,
    exact_mesh,
    normed_rows,
    reference,
    run_decode,
    run_prefill,
    sliceable_config,
    weights_of,
)


@pytest.mark.parametrize("n_devices", DEVICES)
@pytest.mark.parametrize("run", [run_decode, run_prefill])
@pytest.mark.parametrize("moe", [MoeConfig(8, 2), MoeConfig(8, 2, Routing.NONE), MoeConfig(16, 3)], ids=str)
def test_equals_reference(n_devices: int, run, moe: MoeConfig) -> None:
    model, x = reference(sliceable_config(moe=moe)), normed_rows(sliceable_config(), 8)
    with exact_mesh(n_devices) as mesh:
        layer = MoE(weights_of(model, mesh), mesh, PERFORMANCE, 1)
        forward = layer.forward_decode if run is run_decode else layer.forward_prefill
        assert_equal(run(mesh, forward, x), model.layers[1].feed_forward(x))
