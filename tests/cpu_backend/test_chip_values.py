"""chip_values as a mode: when it holds, what it refuses. The values themselves: test_recorded.py."""

import pytest
import torch

import ttnn_cpu as ttnn
from tests.cpu_backend.helpers import TILE, get, open_mesh, put

KERNEL = ttnn.WormholeComputeKernelConfig(
    math_fidelity=ttnn.MathFidelity.HiFi2, math_approx_mode=False, fp32_dest_acc_en=True, packer_l1_acc=True
)


def operands(mesh: ttnn.MeshDevice) -> tuple[ttnn.Tensor, ttnn.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = (1, 1, 32, 64), (1, 1, 64, 64)
    x, w = (put(mesh, torch.randn(shape, generator=generator), ttnn.bfloat16) for shape in shapes)
    return x, w


def test_the_innermost_mode_counts() -> None:
    x, w = operands(open_mesh())

    def made() -> torch.Tensor:
        return get(ttnn.linear(x, w, compute_kernel_config=KERNEL)).float()

    rounded_once = made()
    with ttnn.chip_values():
        chip = made()
        with ttnn.exact_values():
            exact = made()
        assert torch.equal(made(), chip)
    assert torch.equal(made(), rounded_once)
    torch.testing.assert_close(exact, get(x).float() @ get(w).float())
    assert not torch.equal(chip, rounded_once), "HiFi2 leaves a bit of bf16 out"
    torch.testing.assert_close(chip, rounded_once, rtol=0.02, atol=0.1)


def test_a_trace_computes_in_the_mode_in_which_it_runs() -> None:
    mesh = open_mesh()
    x, w = operands(mesh)

    def step() -> ttnn.Tensor:
        y = ttnn.linear(x, w, compute_kernel_config=KERNEL)
        return ttnn.add(
            ttnn.multiply(y, y, dtype=ttnn.bfloat8_b, input_tensor_a_activations=[ttnn.UnaryOpType.SILU]), y
        )

    once = get(step())
    with ttnn.chip_values():
        chip = get(step())
    with ttnn.exact_values():
        exact = get(step())
    trace = ttnn.begin_trace_capture(mesh)
    out = step()
    ttnn.end_trace_capture(mesh, trace)
    for mode, expected in ((None, once), (ttnn.chip_values, chip), (ttnn.exact_values, exact), (None, once)):
        if mode is None:
            ttnn.execute_trace(mesh, trace)
            assert torch.equal(get(out), expected)
        else:
            with mode():
                ttnn.execute_trace(mesh, trace)
                assert torch.equal(get(out), expected)


def test_rows_do_not_depend_on_each_other_or_on_threads() -> None:
    x, w = operands(open_mesh())
    before = torch.get_num_threads()
    with ttnn.chip_values():
        alone = get(ttnn.linear(ttnn.slice(x, [0, 0, 0, 0], [1, 1, 1, 64]), w, compute_kernel_config=KERNEL))
        made = []
        try:
            for threads in (1, 3):
                torch.set_num_threads(threads)
                made.append(get(ttnn.linear(x, w, compute_kernel_config=KERNEL)))
        finally:
            torch.set_num_threads(before)
    assert torch.equal(made[0], made[1])
    assert torch.equal(made[0][:, :, :1], alone)


def test_what_is_not_known_is_refused() -> None:
    x, w = operands(open_mesh())
    bf16_sums = ttnn.WormholeComputeKernelConfig(math_fidelity=ttnn.MathFidelity.HiFi2)
    calls = (
        lambda: ttnn.linear(x, w),
        lambda: ttnn.rms_norm(x, compute_kernel_config=bf16_sums),
        lambda: ttnn.transformer.scaled_dot_product_attention(x, x, x, compute_kernel_config=KERNEL),
        lambda: ttnn.linear(x, w, compute_kernel_config=KERNEL, activation="sigmoid"),
    )
    with ttnn.chip_values():
        for call in calls:
            with pytest.raises(NotImplementedError, match="chip_values"):
                call()


def test_special_values_stay_finite_or_become_infinite() -> None:
    """A row of garbage, as unused rows may hold, spoils no other row."""
    mesh = open_mesh()
    x, w = operands(mesh)
    garbage = get(x).float()
    garbage[0, 0, 3] = torch.tensor([float("nan"), float("inf"), -3e38, 1e-40]).repeat(16)
    spoilt = put(mesh, garbage, ttnn.bfloat16, TILE)
    with ttnn.chip_values():
        clean, dirty = (get(ttnn.linear(one, w, compute_kernel_config=KERNEL)) for one in (x, spoilt))
    others = [row for row in range(32) if row != 3]
    assert torch.equal(clean[:, :, others], dirty[:, :, others])
