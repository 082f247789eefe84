"""Which fidelity and accumulation the program asks for, walked over every call that it makes."""

from dataclasses import fields

import pytest
import torch
import ttnn

import ttnn_cpu
from models.mixtral8x7b.paging import Prompt
from models.mixtral8x7b.tt.expert import Expert
from models.mixtral8x7b.tt.layouts import residual
from models.mixtral8x7b.tt.mesh import open_mesh
from models.mixtral8x7b.tt.model import Mixtral
from models.mixtral8x7b.tt.precision import PRESETS, Matrix
from tests.tt.cases import reference, sliceable_config, weights_of

# What runs on the matrix unit, or has a default that ttnn chooses. The rotary embedding is left to its default, HiFi4
# with bf16 sums, which is not the pair.
CONFIGURED = {
    *("linear", "matmul", "experimental.minimal_matmul", "rms_norm", "scale_mask_softmax", "sum"),
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
        values = {field.name: getattr(precision, field.name) for field in fields(precision)}
        kernels = {name: value.kernel if isinstance(value, Matrix) else value for name, value in values.items()}
        kernels = {name: k for name, k in kernels.items() if isinstance(k, ttnn.WormholeComputeKernelConfig)}
        assert kernels.keys() == {
            *("w1", "w2", "w3", "attention", "lm_head"),
            *("sdpa_prefill", "sdpa_decode", "router", "norm", "row_selection"),
        }
        for name, kernel in kernels.items():
            assert kernel.math_fidelity is not ttnn.MathFidelity.HiFi4, f"{precision.name}: {name}"


def test_no_bit_of_a_weight_is_left_out() -> None:
    """LoFi multiplies 5 bits of a weight, all that bfp4 has; bfp8 and bf16 want two phases."""
    for precision in PRESETS.values():
        for matrix in (precision.w1, precision.w2, precision.w3, precision.attention, precision.lm_head):
            is_lofi = matrix.kernel.math_fidelity is ttnn.MathFidelity.LoFi
            assert is_lofi == (matrix.dtype is ttnn.bfloat4_b), precision.name
            assert matrix.kernel.fp32_dest_acc_en


@pytest.mark.parametrize("preset", PRESETS)
def test_each_matrix_is_stored_and_multiplied_as_the_preset_says(preset: str) -> None:
    """In a decode step, among all rows of a pass and in blocks of them, by the calls that a model makes."""
    config, precision = sliceable_config(), PRESETS[preset]
    matrices = {"w1": precision.w1, "w2": precision.w2, "w3": precision.w3}
    with ttnn_cpu.specs_only(), open_mesh(8) as mesh:
        expert = Expert(weights_of(reference(config), mesh), mesh, precision, 0, 0)
        for name, matrix in matrices.items():
            held = getattr(expert, name)
            assert (held.weight.dtype, held.kernel) == (matrix.dtype, matrix.kernel)
        rows = ttnn.zeros((1, 1, 512, config.dim), dtype=ttnn.bfloat8_b, layout=ttnn.TILE_LAYOUT, device=mesh.device)
        blocks = ttnn.reshape(rows, (2, 1, 256, config.dim))
        in_use = mesh.put(torch.ones(1, 1, 2, 1), ttnn.bfloat16)
        layout = residual(config.dim)
        of_32 = mesh.put(torch.zeros(1, 1, 32, config.dim), ttnn.bfloat16, ttnn.TILE_LAYOUT, memory_config=layout)
        with ttnn_cpu.record(ttnn) as calls:
            expert.forward_decode(of_32)
            expert.forward_prefill(rows)
            expert.forward_blocks(blocks, in_use)
    asked = [dict(call.arguments)["compute_kernel_config"] for call in calls if "compute_kernel_config" in call.line()]
    in_order = [matrices[w].kernel.math_fidelity.name for w in ("w1", "w3", "w2")]
    assert len(asked) == 9
    for kernel, fidelity in zip(asked, 3 * in_order, strict=True):
        assert f"MathFidelity.{fidelity}" in kernel
