"""Blocks of rows times a weight, against the product of each block."""

import pytest
import torch

import ttnn_cpu as ttnn
from tests.cpu_backend.helpers import ROWS, get, open_mesh, put

BLOCKS, HEIGHT, INNER, WIDTH = 4, 64, 64, 96


def program(**changes: object) -> ttnn.MatmulMultiCoreReuseMultiCast1DProgramConfig:
    values: dict = {
        "compute_with_storage_grid_size": (3, 1),
        "in0_block_w": 2,
        "out_subblock_h": 1,
        "out_subblock_w": 1,
        "per_core_M": 2,
        "per_core_N": 1,
        "fuse_batch": False,
        "mcast_in0": True,
    }
    return ttnn.MatmulMultiCoreReuseMultiCast1DProgramConfig(**(values | changes))


def sparse(x: ttnn.Tensor, w: ttnn.Tensor, flags: ttnn.Tensor, **changes: object) -> ttnn.Tensor:
    given: dict = {"program_config": program(), "is_input_a_sparse": True, "is_input_b_sparse": False}
    return ttnn.sparse_matmul(x, w, sparsity=flags, **(given | changes))


@pytest.mark.parametrize("flags", [[0, 0, 0, 0], [1, 1, 1, 1], [0.5, 0, 0, 1e-30]], ids=["none", "all", "some"])
def test_blocks_in_use_are_products_and_the_others_are_zero(flags: list[float]) -> None:
    """Each device with a weight of its own; what a skipped block holds, even nan, is not looked at."""
    mesh = open_mesh(2)
    x, w = torch.randn(BLOCKS, 1, HEIGHT, INNER), torch.randn(2, 1, INNER, WIDTH)
    x[torch.tensor(flags) == 0] = float("nan")
    with ttnn.exact_values():
        of_blocks = put(mesh, torch.tensor(flags).view(1, 1, BLOCKS, 1), ttnn.bfloat16, ROWS)
        result = sparse(put(mesh, x, ttnn.bfloat16), put(mesh, w, ttnn.bfloat16, shard=0), of_blocks)
        for device in range(2):
            out = get(result, device)
            for block in range(BLOCKS):
                expected = x[block, 0] @ w[device, 0] if flags[block] else torch.zeros(HEIGHT, WIDTH)
                torch.testing.assert_close(out[block, 0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("message", "changes"),
    [
        ("Only mcast_in0 is supported", {"program_config": program(mcast_in0=False)}),
        ("per_core_M", {"program_config": program(per_core_M=1)}),
        ("Kt .2. must be divisible", {"program_config": program(in0_block_w=3)}),
        ("num_cores_with_work .3.", {"program_config": program(compute_with_storage_grid_size=(2, 2))}),
        ("not implemented", {"is_input_a_sparse": False}),
    ],
)
def test_programs_that_do_not_fit_are_refused(message: str, changes: dict) -> None:
    mesh = open_mesh()
    flags = put(mesh, torch.ones(1, 1, BLOCKS, 1), ttnn.bfloat16, ROWS)
    x = put(mesh, torch.randn(BLOCKS, 1, HEIGHT, INNER), ttnn.bfloat16)
    w = put(mesh, torch.randn(1, 1, INNER, WIDTH), ttnn.bfloat16)
    with pytest.raises((RuntimeError, NotImplementedError), match=message):
        sparse(x, w, flags, **changes)


def test_what_the_kernel_would_read_wrongly_is_refused() -> None:
    """ttnn takes these: the kernel reads 16 bits of each page of the sparsity, one page for a block."""
    mesh = open_mesh()
    x = put(mesh, torch.randn(BLOCKS, 1, HEIGHT, INNER), ttnn.bfloat16)
    w = put(mesh, torch.randn(1, 1, INNER, WIDTH), ttnn.bfloat16)
    for shape, dtype in (((1, 1, BLOCKS, 1), ttnn.float32), ((1, 1, 1, BLOCKS), ttnn.bfloat16)):
        with pytest.raises(RuntimeError, match="sparsity"):
            sparse(x, w, put(mesh, torch.ones(shape), dtype, ROWS))
    in_one = put(mesh, torch.randn(1, BLOCKS, HEIGHT, INNER), ttnn.bfloat16)
    with pytest.raises(RuntimeError, match="expects"):
        sparse(in_one, w, put(mesh, torch.ones(1, 1, BLOCKS, 1), ttnn.bfloat16, ROWS))
