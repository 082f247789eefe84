"""Elementwise operations, matmul, norms, reductions: values against torch, specs as from ttnn."""

import pytest
import torch

import ttnn_cpu as ttnn
from tests.cpu_backend.helpers import ROWS, TILE, counters, dram_sharded, get, open_mesh, put, sharded, spec

DRAM, L1 = ttnn.DRAM_MEMORY_CONFIG, ttnn.L1_MEMORY_CONFIG


@pytest.fixture
def mesh() -> ttnn.MeshDevice:
    return open_mesh(2)


@pytest.mark.parametrize(
    ("a", "b"), [((1, 1, 32, 64), (1, 1, 32, 1)), ((3, 5), (1, 5)), ((1, 1, 32, 1), (4, 1, 1, 7)), ((2, 3, 4), (4,))]
)
def test_broadcasting(mesh: ttnn.MeshDevice, a: tuple[int, ...], b: tuple[int, ...]) -> None:
    x, y = torch.randn(a), torch.randn(b)
    for ours, theirs in ((ttnn.add, torch.add), (ttnn.subtract, torch.sub), (ttnn.multiply, torch.mul)):
        assert torch.equal(get(ours(put(mesh, x), put(mesh, y))), theirs(x, y))


def test_shards_and_replicas_mix(mesh: ttnn.MeshDevice) -> None:
    x, y = torch.randn(2, 32, 32), torch.randn(1, 32, 32)
    result = ttnn.add(put(mesh, x, shard=0), put(mesh, y))
    assert torch.equal(get(result, 0), x[:1] + y)
    assert torch.equal(get(result, 1), x[1:] + y)


def test_result_dtype_and_place(mesh: ttnn.MeshDevice) -> None:
    x = torch.randn(1, 1, 32, 256)
    shard = sharded("WIDTH", 8, 32, 32)
    wide, narrow = put(mesh, x), put(mesh, x, ttnn.bfloat16, memory_config=L1)
    on_cores = put(mesh, x, ttnn.bfloat16, memory_config=shard)
    assert ttnn.add(wide, narrow).dtype is ttnn.float32
    assert ttnn.add(narrow, wide).dtype is ttnn.bfloat16
    assert ttnn.add(narrow, wide).memory_config() == L1
    assert ttnn.add(narrow, on_cores).memory_config() == shard
    assert ttnn.add(on_cores, narrow, memory_config=DRAM).memory_config() == DRAM
    assert ttnn.add(on_cores, on_cores, memory_config=ttnn.L1_WIDTH_SHARDED_MEMORY_CONFIG).memory_config() == shard


def test_activation_comes_before_the_product_and_rounding_after(mesh: ttnn.MeshDevice) -> None:
    x, y = torch.randn(32, 32), torch.randn(32, 32)
    result = ttnn.multiply(
        put(mesh, x), put(mesh, y), input_tensor_a_activations=[ttnn.UnaryOpType.SILU], dtype=ttnn.bfloat16
    )
    assert torch.equal(get(result), (torch.nn.functional.silu(x) * y).bfloat16())
    relu = ttnn.add(put(mesh, x), put(mesh, y), activations=[ttnn.UnaryWithParam(ttnn.UnaryOpType.RELU)])
    assert torch.equal(get(relu), torch.relu(x + y))


def test_in_place(mesh: ttnn.MeshDevice) -> None:
    x, y = torch.randn(32, 32), torch.randn(32, 1)
    tensor = put(mesh, x, ttnn.bfloat16)
    view = ttnn.reshape(tensor, [1, 32, 32])
    assert ttnn.multiply_(tensor, put(mesh, y)) is tensor
    assert torch.equal(get(view)[0], (x.bfloat16().float() * y).bfloat16())
    ttnn.add_(tensor, 1.0)
    with pytest.raises(RuntimeError, match="does not match"):
        ttnn.add_(put(mesh, y), tensor)


def test_comparisons_and_where(mesh: ttnn.MeshDevice) -> None:
    ids = put(mesh, torch.tensor([[3, 1], [0, 3]], dtype=torch.int32), ttnn.uint32)
    own = put(mesh, torch.tensor([[[3]], [[1]]], dtype=torch.int32), ttnn.uint32, shard=0)
    mask = ttnn.eq(ids, ttnn.reshape(own, [1, 1]), dtype=ttnn.bfloat16)
    assert mask.dtype is ttnn.bfloat16
    assert get(mask, 0).tolist() == [[1, 0], [0, 1]]
    assert get(mask, 1).tolist() == [[0, 1], [0, 0]]
    x = put(mesh, torch.tensor([[1.0, -2.0], [0.0, 3.0]]))
    assert get(ttnn.where(x, x, float("-inf"))).tolist() == [[1.0, -2.0], [float("-inf"), 3.0]]
    assert get(ttnn.ge(x, 0.0)).tolist() == [[1, 0], [1, 1]]
    assert get(ttnn.lt(x, 0.0)).tolist() == [[0, 1], [0, 0]]
    assert get(ttnn.ne(x, 0.0)).tolist() == [[1, 1], [0, 1]]


def test_integer_arithmetic(mesh: ttnn.MeshDevice) -> None:
    index = put(mesh, torch.tensor([[5, 7]], dtype=torch.int32), ttnn.int32)
    offset = put(mesh, torch.tensor([[0], [100]], dtype=torch.int32), ttnn.int32, shard=0)
    assert get(ttnn.add(index, offset), 1).tolist() == [[105, 107]]
    assert get(ttnn.typecast(put(mesh, torch.tensor([[65535, 3]]), ttnn.uint16), ttnn.int32)).tolist() == [[65535, 3]]


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize(("x_sharded", "w_sharded"), [(False, False), (False, True), (True, False), (True, True)])
def test_linear_on_shards(devices: int, x_sharded: bool, w_sharded: bool) -> None:
    mesh = open_mesh(devices)
    x, w, bias = torch.randn(devices, 1, 5, 40), torch.randn(devices, 1, 40, 7), torch.randn(1, 7)
    result = ttnn.linear(
        put(mesh, x if x_sharded else x[:1], shard=0 if x_sharded else None),
        put(mesh, w if w_sharded else w[:1], shard=0 if w_sharded else None),
        bias=put(mesh, bias),
        activation="silu",
    )
    for device in range(devices):
        product = x[device if x_sharded else 0] @ w[device if w_sharded else 0] + bias
        expected = torch.nn.functional.silu(product).unsqueeze(0)
        torch.testing.assert_close(get(result, device), expected, rtol=1e-5, atol=1e-5)


def test_matmul_with_batches(mesh: ttnn.MeshDevice) -> None:
    a, b = torch.randn(3, 4, 5, 6), torch.randn(3, 4, 6, 7)
    torch.testing.assert_close(get(ttnn.matmul(put(mesh, a), put(mesh, b))), a @ b)
    torch.testing.assert_close(get(ttnn.matmul(put(mesh, a), put(mesh, b[:1, :1]))), a @ b[:1, :1])


def test_minimal_matmul(mesh: ttnn.MeshDevice) -> None:
    x, w, bias = torch.randn(1, 3, 5, 64), torch.randn(64, 96), torch.randn(1, 96)
    weight = put(mesh, w, memory_config=dram_sharded(64, 96))
    result = ttnn.experimental.minimal_matmul(
        put(mesh, x, memory_config=L1), weight, bias_tensor=put(mesh, bias), fused_activation=ttnn.UnaryOpType.SILU
    )
    torch.testing.assert_close(get(result), torch.nn.functional.silu(x @ w + bias), rtol=1e-5, atol=1e-5)
    assert result.memory_config() == L1, "as the input"
    assert ttnn.experimental.minimal_matmul(put(mesh, x), weight, dtype=ttnn.bfloat8_b).dtype is ttnn.bfloat8_b


def test_dram_sharded_matmul_chooses_its_grid(mesh: ttnn.MeshDevice) -> None:
    """As ttnn: N / per_core_N cores row by row, whatever the memory config says."""
    x, w = torch.randn(1, 1, 32, 256), torch.randn(1, 1, 256, 800)
    config = ttnn.MatmulMultiCoreReuseMultiCastDRAMShardedProgramConfig(
        in0_block_w=1, per_core_M=1, per_core_N=1, fused_activation=ttnn.UnaryOpType.SILU
    )
    result = ttnn.linear(
        put(mesh, x, memory_config=sharded("WIDTH", 8, 32, 32)),
        put(mesh, w, memory_config=dram_sharded(256, 800)),
        program_config=config,
        memory_config=ttnn.L1_WIDTH_SHARDED_MEMORY_CONFIG,
    )
    torch.testing.assert_close(get(result), torch.nn.functional.silu(x @ w), rtol=1e-4, atol=1e-4)
    shard_spec = result.memory_config().shard_spec
    assert shard_spec is not None
    assert (shard_spec.shape, repr(shard_spec.grid)) == ((32, 32), "{[0-0 - 7-2], [0-3 - 0-3]}")


def test_one_and_two_dimensional_program_configs(mesh: ttnn.MeshDevice) -> None:
    x, w = torch.randn(1, 1, 256, 128), torch.randn(1, 1, 128, 96)
    two = ttnn.MatmulMultiCoreReuseMultiCastProgramConfig(
        compute_with_storage_grid_size=(8, 8), in0_block_w=4, out_subblock_h=1, out_subblock_w=3,
        per_core_M=1, per_core_N=3, transpose_mcast=False, fuse_batch=False,
    )  # fmt: skip
    torch.testing.assert_close(
        get(ttnn.linear(put(mesh, x), put(mesh, w, memory_config=dram_sharded(128, 96)), program_config=two)),
        x @ w,
        rtol=1e-4,
        atol=1e-4,
    )
    one = ttnn.MatmulMultiCoreReuseMultiCast1DProgramConfig(
        compute_with_storage_grid_size=(8, 1), in0_block_w=1, out_subblock_h=1, out_subblock_w=1,
        per_core_M=1, per_core_N=1, fuse_batch=True, mcast_in0=True,
    )  # fmt: skip
    row = put(mesh, x[:, :, :32], memory_config=sharded("WIDTH", 4, 32, 32))
    result = ttnn.linear(row, put(mesh, w), program_config=one, memory_config=L1, dtype=ttnn.float32)
    torch.testing.assert_close(get(result), x[:, :, :32] @ w, rtol=1e-4, atol=1e-4)


def test_a_row_of_a_matmul_does_not_depend_on_its_neighbours(mesh: ttnn.MeshDevice) -> None:
    x, w = torch.randn(1, 1, 32, 256), put(mesh, torch.randn(2, 1, 256, 512), shard=0)
    alone = torch.zeros_like(x)
    alone[..., 5, :] = x[..., 5, :]
    both = [get(ttnn.linear(put(mesh, rows), w), 1)[..., 5, :] for rows in (x, alone)]
    assert torch.equal(*both)


@pytest.mark.parametrize("width", [32, 96])
def test_rms_norm(mesh: ttnn.MeshDevice, width: int) -> None:
    x, w = torch.randn(1, 1, 5, width), torch.randn(width)
    expected = x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * w
    rows = put(mesh, w.reshape(1, 1, width // 32, 32), ttnn.float32, ROWS)
    tile = put(mesh, w.reshape(1, 1, 1, width))
    for weight in (rows, tile):
        torch.testing.assert_close(get(ttnn.rms_norm(put(mesh, x), epsilon=1e-5, weight=weight)), expected)


def test_softmax_and_sum(mesh: ttnn.MeshDevice) -> None:
    x = torch.randn(2, 3, 5, 7)
    torch.testing.assert_close(get(ttnn.softmax(put(mesh, x), dim=-1)), torch.softmax(x, -1))
    torch.testing.assert_close(get(ttnn.softmax(put(mesh, x), dim=1)), torch.softmax(x, 1))
    torch.testing.assert_close(get(ttnn.sum(put(mesh, x), dim=-1, keepdim=True)), x.sum(-1, keepdim=True))
    torch.testing.assert_close(get(ttnn.sum(put(mesh, x), dim=(1, 3))), x.sum((1, 3)))
    assert spec(ttnn.sum(put(mesh, x))) == ([], [32, 32], "FLOAT32", "TILE")


def test_softmax_with_a_mask_leaves_columns_out(mesh: ttnn.MeshDevice) -> None:
    x, mask = torch.randn(1, 1, 37, 32), torch.zeros(1, 1, 1, 32)
    mask[..., 2:] = -1e30
    expected = torch.cat((torch.softmax(3 * x[..., :2], -1), torch.zeros(1, 1, 37, 30)), -1)
    found = ttnn.scale_mask_softmax(put(mesh, x), 3.0, put(mesh, mask, ttnn.bfloat16))
    torch.testing.assert_close(get(found), expected)


def test_topk_takes_the_lowest_index_among_equals(mesh: ttnn.MeshDevice) -> None:
    x = torch.tensor([[1.0, 3.0, 3.0, -0.0, 0.0, 3.0, -5.0, -5.0]])
    values, indices = ttnn.topk(put(mesh, x), 4, dim=-1, largest=True, sorted=True, stable=True)
    assert get(values).tolist() == [[3, 3, 3, 1]]
    assert get(indices).tolist() == [[1, 2, 5, 0]]
    values, indices = ttnn.topk(put(mesh, x), 3, largest=False)
    assert get(indices).tolist() == [[6, 7, 3]], "the two zeros are equal"
    assert indices.dtype is ttnn.uint32, "float32 values"
    _, indices = ttnn.topk(put(mesh, x, ttnn.bfloat16), 3)
    assert spec(indices) == ([1, 3], [32, 32], "UINT16", "TILE")


def test_topk_against_torch_on_bf16_with_many_ties(mesh: ttnn.MeshDevice) -> None:
    x = torch.randn(2, 1, 32, 512).bfloat16().float().round(decimals=1)
    values, indices = ttnn.topk(put(mesh, x, shard=0), 32)
    for device in range(2):
        order = torch.sort(x[device : device + 1], dim=-1, descending=True, stable=True)
        assert torch.equal(get(indices, device).long(), order.indices[..., :32])
        assert torch.equal(get(values, device), order.values[..., :32])


def test_topk_with_infinities(mesh: ttnn.MeshDevice) -> None:
    x = torch.tensor([[float("-inf"), 1e30, float("inf"), -1e30]])
    assert get(ttnn.topk(put(mesh, x), 4)[1]).tolist() == [[2, 1, 3, 0]]


def test_argmax(mesh: ttnn.MeshDevice) -> None:
    x = torch.tensor([[[1.0, 5.0, 5.0], [7.0, 2.0, 7.0]]])
    rows = put(mesh, x, ttnn.bfloat16, ROWS)
    result = ttnn.argmax(rows, dim=-1)
    assert spec(result) == ([1, 2], [1, 2], "UINT32", "ROW_MAJOR")
    assert get(result).tolist() == [[1, 0]]
    target = counters(mesh, [[0, 0]], ttnn.uint32)
    assert ttnn.argmax(rows, dim=2, output_tensor=target) is target
    assert get(target).tolist() == [[1, 0]]


def test_embedding(mesh: ttnn.MeshDevice) -> None:
    table = torch.randn(50, 40).bfloat16()
    ids = torch.tensor([[3, 0, 49, 3, 7]], dtype=torch.int32)
    result = ttnn.embedding(counters(mesh, ids, ttnn.uint32), put(mesh, table, ttnn.bfloat16, ROWS), layout=TILE)
    assert spec(result) == ([1, 5, 40], [1, 32, 64], "BFLOAT16", "TILE")
    assert torch.equal(get(result), table[ids.long()])
    own = put(mesh, torch.randn(2, 1, 50, 32).bfloat16(), ttnn.bfloat16, ROWS, shard=0)
    assert torch.equal(
        get(ttnn.embedding(counters(mesh, ids, ttnn.uint32), own), 1)[0], get(own, 1)[0, 0][ids[0].long()]
    )


def test_scatter_skips_what_is_out_of_range(mesh: ttnn.MeshDevice) -> None:
    index = put(mesh, torch.tensor([[2, 0], [4, 1]], dtype=torch.int32), ttnn.uint32)
    source = put(mesh, torch.tensor([[10.0, 20.0], [30.0, 40.0]]))
    result = ttnn.scatter(put(mesh, torch.zeros(2, 4)), 1, index, source)
    assert get(result).tolist() == [[20, 0, 10, 0], [0, 40, 0, 0]]
