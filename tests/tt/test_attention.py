import pytest
import torch

from models.mixtral8x7b.reference.model import positions
from models.mixtral8x7b.tt.attention import Attention
from models.mixtral8x7b.tt.precision import ACCURACY, PERFORMANCE
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

CONFIGS = {
    "as-mixtral": sliceable_config(),
    "one-query-head-each": sliceable_config(n_heads=8),
    "wide-heads": sliceable_config(head_dim=64, n_heads=32),
}


def expected(config, x: torch.Tensor) -> torch.Tensor:
    return reference(config).layers[1].attention(x, *positions(config, 0, x.shape[1]))


@pytest.mark.parametrize("n_devices", DEVICES)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_decode_equals_reference(n_devices: int, config) -> None:
    """70 positions: into a second block."""
    x = normed_rows(config, 70)
    with exact_mesh(n_devices) as mesh:
        attention = Attention(weights_of(reference(config), mesh), mesh, PERFORMANCE, 1)
        assert_equal(run_decode(mesh, decode_with_cache(attention, Placed(config, mesh, 70)), x), expected(config, x))


@pytest.mark.parametrize("n_devices", DEVICES)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("precision", [PERFORMANCE, ACCURACY], ids=lambda precision: precision.name)
def test_prefill_equals_reference(n_devices: int, config, precision) -> None:
    x = normed_rows(config, 128)
    with exact_mesh(n_devices) as mesh:
        attention = Attention(weights_of(reference(config), mesh), mesh, precision, 1)
        placed = Placed(config, mesh, 128, precision)
        out = run_prefill(mesh, lambda x: attention.forward_prefill(x, placed.cache, placed.whole_pass(128)), x)
        assert_equal(out, expected(config, x))


def test_decode_goes_on_from_a_prefill() -> None:
    config = CONFIGS["as-mixtral"]
    x = normed_rows(config, 132)
    with exact_mesh(8) as mesh:
        attention = Attention(weights_of(reference(config), mesh), mesh, PERFORMANCE, 1)
        placed = Placed(config, mesh, 192)
        fill = placed.whole_pass(128)
        run_prefill(mesh, lambda x: attention.forward_prefill(x, placed.cache, fill), x[:, :128])
        steps = iter(range(128, 132))
        out = run_decode(
            mesh, lambda x: attention.forward_decode(x, placed.cache, placed.step(next(steps))), x[:, 128:]
        )
        assert_equal(out, expected(config, x)[:, 128:])
