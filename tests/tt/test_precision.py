"""Which fidelity and accumulation the program asks for, walked over every call that it makes."""

from dataclasses import fields

import pytest
import ttnn

import ttnn_cpu
from models.mixtral8x7b.paging import Prompt
from models.mixtral8x7b.tt.mesh import open_mesh
from models.mixtral8x7b.tt.model import Mixtral
from models.mixtral8x7b.tt.precision import PRESETS
from tests.tt.cases import reference, sliceable_config, weights_of

# What runs on the matrix unit, or has a default that ttnn chooses. The rotary embedding is left to its default, HiFi4
# with bf16 sums, which is not the pair.
CONFIGURED = {
    *("linear", "matmul", "experimental.minimal_matmul", "rms_norm", "softmax", "sum"),
    *("transformer.scaled_dot_product_attention", "transformer.chunked_scaled_dot_product_attention"),
    "transformer.paged_scaled_dot_product_attention_decode",
}


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("n_devices", [1, 8])
def test_no_call_has_the_pair_that_the_hardware_gets_wrong(preset: str, n_devices: int) -> None:
    """HiFi4 with float32 accumulation; and nothing is left to a default that may be it."""
    config = sliceable_config()
    with ttnn_cpu.specs_only(), open_mesh(n_devices) as mesh:
        model = Mixtral(weights_of(reference(config), mesh), mesh, PRESETS[preset], 8, 512, 256)
        with ttnn_cpu.record(ttnn) as calls:
            model.sampler.forward(model.prefill([Prompt(0, [1] * 400, range(8))]), model.state.tokens)
            model.step()
    assert {call.name for call in calls} >= CONFIGURED
    for call in calls:
        kernel = dict(call.arguments).get("compute_kernel_config", "")
        assert kernel or call.name not in CONFIGURED, f"{call.name} leaves its fidelity to ttnn"
        assert "MathFidelity.HiFi4" not in kernel, call.line()


def test_every_topk_is_stable() -> None:
    """The unstable kernel breaks ties arbitrarily, and leaves the vector unit in a mode that corrupts random draws."""
    with ttnn_cpu.specs_only(), open_mesh(8) as mesh:
        model = Mixtral(weights_of(reference(sliceable_config()), mesh), mesh, PRESETS["performance"], 8, 512, 256)
        with ttnn_cpu.record(ttnn) as calls:
            model.sampler.forward(model.prefill([Prompt(0, [1] * 100, range(8))]), model.state.tokens)
            model.step()
    chosen = [dict(call.arguments)["stable"] for call in calls if call.name == "topk"]
    assert chosen == ["True"] * (2 * (model.config.n_layers + 1))


def test_no_preset_has_it() -> None:
    for precision in PRESETS.values():
        for field in fields(precision):
            value = getattr(precision, field.name)
            if isinstance(value, ttnn.WormholeComputeKernelConfig):
                assert value.math_fidelity is not ttnn.MathFidelity.HiFi4, f"{precision.name}: {field.name}"
