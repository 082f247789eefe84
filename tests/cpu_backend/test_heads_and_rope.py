"""Heads and rotary embedding, against oracles written from their definitions."""

import pytest
import torch

import ttnn_cpu as ttnn
from tests.cpu_backend.helpers import get, open_mesh, put, sharded, spec, turning_tile

HSH = ttnn.L1_HEIGHT_SHARDED_MEMORY_CONFIG
WIDTH, BLOCK = 32, 32


def rotate_pairs(x: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """Meta's convention by complex numbers: the pair (x[2i], x[2i+1]) turned by angle[.., i]."""
    pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2).contiguous())
    return torch.view_as_real(pairs * torch.polar(torch.ones_like(angle), angle)).flatten(-2)


@pytest.mark.parametrize("users", [1, 5, 32])
def test_decode_heads(users: int) -> None:
    mesh = open_mesh()
    x = torch.randn(1, 1, 32, 8 * WIDTH)
    qkv = put(mesh, x, memory_config=sharded("WIDTH", 8, 32, WIDTH))
    qkv = ttnn.reshape(qkv, (1, 1, users, 8 * WIDTH), (1, 1, 32, 8 * WIDTH))
    q, k, v = ttnn.experimental.nlp_create_qkv_heads_decode(
        qkv, num_heads=4, num_kv_heads=2, overlap_qk_coregrid=False, memory_config=HSH
    )
    rows = x[0, 0, :users]
    for part, first, heads in ((q, 0, 4), (k, 4, 2), (v, 6, 2)):
        assert spec(part)[:2] == ([1, users, heads, WIDTH], [1, users, 32, WIDTH])
        for head in range(heads):
            assert torch.equal(get(part)[0, :, head], rows[:, (first + head) * WIDTH : (first + head + 1) * WIDTH])
    grids = [set(t.memory_config().shard_spec.grid.cores) for t in (q, k, v)]  # type: ignore[union-attr]
    assert grids[0] == grids[2]
    assert not grids[0] & grids[1]
    assert k.memory_config().shard_spec.grid.cores[0] == ttnn.CoreCoord(users % 8, users // 8)  # type: ignore[union-attr]


def test_decode_heads_of_an_interleaved_input_overlap_all_the_same() -> None:
    mesh = open_mesh()
    qkv = put(mesh, torch.randn(1, 1, 32, 4 * WIDTH))
    q, k, _ = ttnn.experimental.nlp_create_qkv_heads_decode(qkv, num_heads=2, num_kv_heads=1, overlap_qk_coregrid=False)
    assert q.memory_config().shard_spec.grid == k.memory_config().shard_spec.grid  # type: ignore[union-attr]


@pytest.mark.parametrize("users", [5, 32])
def test_decode_heads_are_joined_in_order(users: int) -> None:
    mesh = open_mesh()
    x = torch.randn(1, users, 4, WIDTH)
    joined = ttnn.experimental.nlp_concat_heads_decode(
        put(mesh, x, memory_config=sharded("HEIGHT", users, 32, WIDTH)), num_heads=4
    )
    assert spec(joined)[0] == [1, 1, 32, 4 * WIDTH], "always 32 rows"
    assert torch.equal(get(joined)[0, 0, :users], torch.cat([x[0, :, h] for h in range(4)], -1))
    placed = joined.memory_config().shard_spec
    assert placed is not None
    assert (placed.shape, placed.num_cores()) == ((32, WIDTH), 4)


def test_prefill_heads() -> None:
    mesh = open_mesh()
    x = torch.randn(2, 1, 35, 8 * WIDTH)
    q, k, v = ttnn.experimental.nlp_create_qkv_heads(put(mesh, x), num_heads=4, num_kv_heads=2, transpose_k_heads=False)
    for part, first, heads in ((q, 0, 4), (k, 4, 2), (v, 6, 2)):
        assert spec(part)[0] == [2, heads, 35, WIDTH]
        for head in range(heads):
            columns = slice((first + head) * WIDTH, (first + head + 1) * WIDTH)
            assert torch.equal(get(part)[:, head], x[:, 0, :, columns])
    _, turned, _ = ttnn.experimental.nlp_create_qkv_heads(put(mesh, x), num_heads=4, num_kv_heads=2)
    assert torch.equal(get(turned), get(k).transpose(-1, -2))


def test_prefill_heads_are_joined_in_order() -> None:
    x = torch.randn(2, 3, 35, WIDTH)
    joined = ttnn.experimental.nlp_concat_heads(put(open_mesh(), x))
    assert spec(joined)[0] == [2, 1, 35, 3 * WIDTH]
    for batch in range(2):
        for head in range(3):
            assert torch.equal(get(joined)[batch, 0, :, head * WIDTH : (head + 1) * WIDTH], x[batch, head])


@pytest.mark.parametrize("width", [32, 64])
def test_prefill_rotation_turns_pairs(width: int) -> None:
    mesh = open_mesh()
    x = torch.randn(2, 3, 35, width).bfloat16().float()
    angle = torch.randn(1, 1, 40, width // 2)
    cos, sin = (f(angle).repeat_interleave(2, -1).bfloat16().float() for f in (torch.cos, torch.sin))
    args = [put(mesh, t, ttnn.bfloat16) for t in (x, cos, sin, turning_tile().reshape(1, 1, 32, 32))]
    result = ttnn.experimental.rotary_embedding_llama(*args, is_decode_mode=False)
    torch.testing.assert_close(get(result).float(), rotate_pairs(x, angle[:, :, :35]), rtol=0.02, atol=0.02)
    with ttnn.exact_values():
        exact = ttnn.experimental.rotary_embedding_llama(*args, is_decode_mode=False)
        even, odd = x[..., 0::2], x[..., 1::2]
        c, s = cos[:, :, :35, 0::2], sin[:, :, :35, 0::2]
        expected = torch.stack([even * c - odd * s, odd * c + even * s], -1).flatten(-2)
        torch.testing.assert_close(get(exact), expected)


def decode_inputs(
    mesh: ttnn.MeshDevice, users: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, list[ttnn.Tensor]]:
    q, k = torch.randn(1, users, 4, WIDTH).bfloat16().float(), torch.randn(1, users, 1, WIDTH).bfloat16().float()
    angle = torch.randn(1, users, 1, WIDTH // 2)
    both = torch.cat([angle, angle], 1)
    cos, sin = (f(both).repeat_interleave(2, -1) for f in (torch.cos, torch.sin))
    tables = [put(mesh, t, ttnn.bfloat16, memory_config=sharded("HEIGHT", 2 * users, 32, WIDTH)) for t in (cos, sin)]
    tiles = turning_tile().repeat(2 * users, 1).reshape(1, 1, -1, 32)
    trans = put(mesh, tiles, ttnn.bfloat16, memory_config=sharded("HEIGHT", 2 * users, 32, 32))
    places = (sharded("HEIGHT", users, 32, WIDTH), sharded("HEIGHT", users, 32, WIDTH, first=users))
    heads = [put(mesh, t, ttnn.bfloat16, memory_config=place) for t, place in zip((q, k), places, strict=True)]
    return q, k, angle, [*heads, *tables, trans]


@pytest.mark.parametrize("users", [3, 32])
def test_fused_decode_rotation(users: int) -> None:
    q, k, angle, args = decode_inputs(open_mesh(), users)
    turned_q, turned_k = ttnn.experimental.rotary_embedding_llama_fused_qk(*args)
    torch.testing.assert_close(get(turned_q).float(), rotate_pairs(q, angle), rtol=0.02, atol=0.02)
    torch.testing.assert_close(get(turned_k).float(), rotate_pairs(k, angle), rtol=0.02, atol=0.02)
    assert turned_k.memory_config() == args[1].memory_config()
    alone = ttnn.experimental.rotary_embedding_llama(
        args[0],
        *(put_first(t, users) for t in args[2:4]),
        put_first(args[4], users),
        is_decode_mode=True,
    )
    assert torch.equal(get(alone), get(turned_q))


def put_first(tensor: ttnn.Tensor, users: int) -> ttnn.Tensor:
    """The shards of the first `users` cores alone."""
    x = get(tensor)
    mesh = tensor.device()
    assert mesh is not None
    if x.shape[-2] != 1:
        part = x[:, :, : 32 * users]
        return put(mesh, part, ttnn.bfloat16, memory_config=sharded("HEIGHT", users, 32, 32))
    return put(mesh, x[:, :users], ttnn.bfloat16, memory_config=sharded("HEIGHT", users, 32, WIDTH))


def test_a_core_rotates_with_the_table_row_that_stands_on_it() -> None:
    """k stands on cores 3 to 5, so that its user 0 uses row 3 of the tables."""
    mesh = open_mesh()
    _, k, angle, args = decode_inputs(mesh, 3)
    other = torch.cat([angle, angle + 1.0], 1)
    for place, function in ((2, torch.cos), (3, torch.sin)):
        table = function(other).repeat_interleave(2, -1)
        args[place] = put(mesh, table, ttnn.bfloat16, memory_config=sharded("HEIGHT", 6, 32, WIDTH))
    _, turned_k = ttnn.experimental.rotary_embedding_llama_fused_qk(*args)
    torch.testing.assert_close(get(turned_k).float(), rotate_pairs(k, angle + 1.0), rtol=0.02, atol=0.02)
