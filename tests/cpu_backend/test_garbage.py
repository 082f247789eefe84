"""Memory that nothing has written: the same garbage every time, and nothing that a tensor of its dtype cannot hold."""

import pytest
import torch

import ttnn_cpu as ttnn
from tests.cpu_backend.helpers import ROWS, TILE, counters, get, open_mesh, put, sharded, spec

FLOATS = [ttnn.bfloat16, ttnn.float32, ttnn.bfloat8_b, ttnn.bfloat4_b]
INTEGERS = [ttnn.int32, ttnn.uint32, ttnn.uint16, ttnn.uint8]


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.name)
@pytest.mark.parametrize("shape", [(3, 2, 64, 32), (5, 70), (40,), (2, 1, 1, 7)])
def test_floats(dtype: ttnn.DataType, shape: tuple[int, ...]) -> None:
    mesh = open_mesh(2)
    found = get(ttnn.empty(shape, dtype, TILE, mesh)).float()
    assert list(found.shape) == list(shape)
    stored = ttnn.to_torch(ttnn.from_torch(found, dtype=dtype)).float()
    assert torch.equal(stored.view(torch.int32), found.view(torch.int32)), "what the dtype holds"
    again = get(ttnn.empty(shape, dtype, TILE, mesh), 1).float()
    assert torch.equal(again.view(torch.int32), found.view(torch.int32)), "the same every time, on every chip"
    assert not found.isfinite().all()
    if found.shape[0] > 3:
        finite = found[found.isfinite()].abs()
        assert finite.max() > 1e38
        assert ((finite > 0.1) & (finite < 10)).any()


@pytest.mark.parametrize("dtype", INTEGERS, ids=lambda d: d.name)
def test_integers(dtype: ttnn.DataType) -> None:
    found = get(ttnn.empty([2, 16], dtype, device=open_mesh())).to(torch.int64)
    largest = {ttnn.int32: 2**31 - 1, ttnn.uint32: 2**32 - 1, ttnn.uint16: 2**16 - 1, ttnn.uint8: 255}[dtype]
    assert found.max() == largest
    assert found.min() == -(2**31) or dtype is not ttnn.int32


def test_a_pool_of_a_gigabyte_takes_no_memory_until_it_is_written() -> None:
    values = ttnn.empty([1 << 16, 1, 64, 64], ttnn.bfloat8_b, TILE, open_mesh()).values()
    assert values.untyped_storage().nbytes() < 1 << 20


def test_a_cache_keeps_its_garbage_where_nothing_is_written() -> None:
    mesh = open_mesh()
    cache = ttnn.empty([2, 1, 32, 32], ttnn.bfloat16, TILE, mesh)
    before = get(cache).float()
    ttnn.experimental.paged_fill_cache(cache, ttnn.ones([1, 1, 3, 32], None, TILE, mesh), counters(mesh, [[1]]))
    after = get(cache).float()
    assert after[1, 0, :3].unique().tolist() == [1.0]
    assert torch.equal(after[0].view(torch.int32), before[0].view(torch.int32))
    assert torch.equal(after[1, 0, 3:].view(torch.int32), before[1, 0, 3:].view(torch.int32))


def test_rows_of_joined_heads_beyond_the_users_are_not_written() -> None:
    heads = put(open_mesh(), torch.ones(1, 2, 1, 32), ttnn.bfloat16, memory_config=sharded("HEIGHT", 2, 32, 32))
    joined = get(ttnn.experimental.nlp_concat_heads_decode(heads, num_heads=1))[0, 0]
    assert joined[:2].unique().tolist() == [1.0]
    assert not joined[2:].isfinite().all()


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS], ids=lambda d: d.name)
def test_zeros_like_does_not_see_what_was_there(dtype: ttnn.DataType) -> None:
    mesh = open_mesh(2)
    found = ttnn.empty([1, 2, 64, 32], dtype, TILE, mesh, ttnn.L1_MEMORY_CONFIG)
    zeros = ttnn.zeros_like(found)
    assert spec(zeros) == spec(found)
    assert not get(zeros, 1).to(torch.float32).any()
    ttnn.deallocate(found)
    assert not get(zeros).to(torch.float32).any(), "memory of its own"
    with pytest.raises(RuntimeError, match="not allocated"):
        ttnn.zeros_like(found)


def test_zeros_like_elsewhere() -> None:
    mesh = open_mesh()
    x = put(mesh, torch.ones(1, 1, 32, 64), ttnn.bfloat8_b)
    other = ttnn.zeros_like(x, ttnn.bfloat16, ROWS, mesh, ttnn.L1_MEMORY_CONFIG)
    assert (other.dtype, other.layout, other.memory_config()) == (ttnn.bfloat16, ROWS, ttnn.L1_MEMORY_CONFIG)
    with pytest.raises(RuntimeError, match="Only TILE"):
        ttnn.zeros_like(x, layout=ROWS)
    host = ttnn.zeros_like(ttnn.from_torch(torch.ones(2, 3)))
    assert host.device() is None
    assert ttnn.to_torch(host).tolist() == [[0.0] * 3] * 2
    with pytest.raises(TypeError, match="tensor must be Tensor"):
        ttnn.zeros_like(torch.ones(3))  # type: ignore[arg-type]
