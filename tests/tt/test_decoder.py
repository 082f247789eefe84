import pytest

from models.mixtral8x7b.reference.model import positions
from models.mixtral8x7b.tt.decoder import DecoderBlock
from models.mixtral8x7b.tt.precision import PERFORMANCE
from tests.tt.cases import (
    DEVICES,
    Placed,
    assert_equal,
    decode_with_cache,
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
    config = sliceable_config()
    n_positions = 9 if run is run_decode else 128
    x = normed_rows(config, n_positions)
    expected = reference(config).layers[1](x, *positions(config, 0, n_positions))
    with exact_mesh(n_devices) as mesh:
        block = DecoderBlock(weights_of(reference(config), mesh), mesh, PERFORMANCE, 1)
        placed = Placed(config, mesh, n_positions)
        if run is run_decode:
            assert_equal(run_decode(mesh, decode_with_cache(block, placed), x), expected)
        else:
            forward = lambda x: block.forward_prefill(x, placed.cache, placed.whole_pass(n_positions))  # noqa: E731
            assert_equal(run_prefill(mesh, forward, x), expected)
