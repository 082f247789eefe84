import pytest

from models.mixtral8x7b.tt.precision import PERFORMANCE
from models.mixtral8x7b.tt.rms_norm import RMSNorm
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
def test_equals_reference(n_devices: int, run) -> None:
    model, x = reference(sliceable_config(norm_eps=1e-2)), 3 * normed_rows(sliceable_config(), 8)
    with exact_mesh(n_devices) as mesh:
        norm = RMSNorm(weights_of(model, mesh), PERFORMANCE, "layers.1.ffn_norm")
        forward = norm.forward_decode if run is run_decode else norm.forward_prefill
        assert_equal(run(mesh, forward, x), model.layers[1].ffn_norm(x))
