import pytest
import ttnn

from models.mixtral8x7b.tt.layouts import residual
from models.mixtral8x7b.tt.lm_head import LMHead
from models.mixtral8x7b.tt.precision import PERFORMANCE
from tests.tt.cases import DEVICES, assert_equal, exact_mesh, normed_rows, reference, sliceable_config, weights_of


@pytest.mark.parametrize("n_devices", DEVICES)
def test_equals_reference(n_devices: int) -> None:
    model, x = reference(sliceable_config(vocab_size=768)), normed_rows(sliceable_config(), 1)[:, 0]
    with exact_mesh(n_devices) as mesh:
        head = LMHead(weights_of(model, mesh), mesh, PERFORMANCE)
        rows = mesh.put(x[None, None], ttnn.bfloat16, ttnn.TILE_LAYOUT, memory_config=residual(model.config.dim))
        assert_equal(mesh.read_columns(head.forward(rows))[0, 0].float(), model.output(x))
