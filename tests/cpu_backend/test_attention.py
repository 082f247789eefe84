"""Paged cache and attention, against oracles written from their definitions."""

from itertools import pairwise

import pytest
import torch

import ttnn_cpu as ttnn
from tests.cpu_backend.helpers import TILE, counters, get, open_mesh, put, sharded
from tests.cpu_backend.test_chip_rounding import slow_block
from ttnn_cpu.halves import Halves
from ttnn_cpu.ops.sdpa_decode import attend

WIDTH, BLOCK = 32, 32


def plain_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float) -> torch.Tensor:
    """One query [H, W] against keys [L, KV, W]: loops over heads, in float64."""
    group = q.shape[0] // k.shape[1]
    rows = []
    for head in range(q.shape[0]):
        keys, values = k[:, head // group].double(), v[:, head // group].double()
        rows.append(torch.softmax(keys @ q[head].double() * scale, 0) @ values)
    return torch.stack(rows).float()


def paged(mesh: ttnn.MeshDevice, blocks: int, heads: int, dtype: ttnn.DataType = ttnn.bfloat16) -> ttnn.Tensor:
    return ttnn.zeros([blocks, heads, BLOCK, WIDTH], dtype=dtype, layout=TILE, device=mesh)


def test_update_writes_block_and_slot() -> None:
    """Token 37 of a user with pages [4, 1] stands in block 1, slot 5 (blocks of 32)."""
    mesh = open_mesh()
    cache = paged(mesh, 6, 2)
    new = torch.randn(1, 3, 2, WIDTH).bfloat16()
    table = counters(mesh, [[4, 1], [0, 5], [3, 2]])
    result = ttnn.experimental.paged_update_cache(
        cache,
        put(mesh, new, ttnn.bfloat16, memory_config=sharded("HEIGHT", 3, 32, WIDTH)),
        update_idxs_tensor=counters(mesh, [37, -1, 0]),
        page_table=table,
    )
    assert result is cache
    expected = torch.zeros(6, 2, BLOCK, WIDTH)
    expected[1, :, 5] = new[0, 0]
    expected[3, :, 0] = new[0, 2]
    assert torch.equal(get(cache).float(), expected), "user 1 is skipped"


def test_fused_update_writes_both_caches() -> None:
    """As two updates: token 37 of the user with pages [4, 1] in block 1, slot 5, of keys and of values."""
    mesh = open_mesh()
    caches = [paged(mesh, 6, 1) for _ in range(2)]
    new = [torch.randn(1, 2, 1, WIDTH).bfloat16() for _ in range(2)]
    on_cores = [
        put(mesh, rows, ttnn.bfloat16, memory_config=sharded("HEIGHT", 2, 32, WIDTH, first=2 * i))
        for i, rows in enumerate(new)
    ]
    ttnn.experimental.paged_fused_update_cache(
        caches[0],
        on_cores[0],
        caches[1],
        on_cores[1],
        update_idxs_tensor=counters(mesh, [37, 64]),
        page_table=counters(mesh, [[4, 1, 0], [0, 5, 3]]),
    )
    for cache, rows in zip(caches, new, strict=True):
        expected = torch.zeros(6, 1, BLOCK, WIDTH)
        expected[1, 0, 5], expected[3, 0, 0] = rows[0, 0, 0], rows[0, 1, 0]
        assert torch.equal(get(cache).float(), expected)


def test_two_users_in_one_tile_are_refused() -> None:
    """ttnn takes them, and one of the two rows is lost: tokens 5 and 6 of block 1; 5 and 37 are in two tiles."""
    mesh = open_mesh()
    cache = ttnn.zeros([4, 1, 64, WIDTH], ttnn.bfloat16, TILE, mesh)
    rows = put(mesh, torch.randn(1, 3, 1, WIDTH), ttnn.bfloat16, memory_config=sharded("HEIGHT", 3, 32, WIDTH))
    update = ttnn.experimental.paged_update_cache
    pages = counters(mesh, [[1], [0], [1]])
    update(cache, rows, update_idxs_tensor=counters(mesh, [5, 6, 37]), page_table=pages)
    with pytest.raises(RuntimeError, match="users 0 and 2 write to one tile of the cache: one of"):
        update(cache, rows, update_idxs_tensor=counters(mesh, [5, 6, 6]), page_table=pages)


def test_update_rounds_the_row_to_the_cache_dtype_and_leaves_the_rest() -> None:
    mesh = open_mesh(2)
    cache = paged(mesh, 2, 1, ttnn.bfloat8_b)
    place = sharded("HEIGHT", 1, 32, WIDTH)
    rows = torch.randn(4, 1, 1, WIDTH)
    for position in range(4):
        new = put(mesh, torch.stack([rows[position], rows[position] * 3]), memory_config=place, shard=0)
        ttnn.experimental.paged_update_cache(
            cache, new, update_idxs_tensor=counters(mesh, [position]), page_table=counters(mesh, [[1]])
        )
    for device, factor in ((0, 1.0), (1, 3.0)):
        expected = slow_block(rows[:, 0, 0] * factor, 7, packed=True)
        assert torch.equal(get(cache, device)[1, 0, :4], expected)
        assert get(cache, device)[0].abs().sum() == 0


def test_a_copy_of_the_cache_does_not_change_with_it() -> None:
    mesh = open_mesh()
    cache = paged(mesh, 2, 1)
    place = sharded("HEIGHT", 1, 32, WIDTH)
    arguments = {"update_idxs_tensor": counters(mesh, [0]), "page_table": counters(mesh, [[0]])}
    one = put(mesh, torch.ones(1, 1, 1, WIDTH), memory_config=place)
    ttnn.experimental.paged_update_cache(cache, one, **arguments)
    before, kept = ttnn.slice(cache, [0, 0, 0, 0], [1, 1, 32, 32]), ttnn.clone(cache)
    ttnn.experimental.paged_update_cache(
        cache, put(mesh, torch.full((1, 1, 1, WIDTH), 7.0), memory_config=place), **arguments
    )
    assert get(before).max() == get(kept).max() == 1.0
    assert get(cache).max() == 7.0


def test_a_cache_is_kept_in_half_the_memory() -> None:
    """Except where its values have more bits: of float32, or written with rounding off."""
    mesh = open_mesh()
    place = sharded("HEIGHT", 1, 32, WIDTH)
    table = counters(mesh, [[1]])

    def write(cache: ttnn.Tensor, slot: int) -> torch.Tensor:
        new = torch.randn(1, 1, 1, WIDTH, generator=torch.Generator().manual_seed(slot))
        given = put(mesh, new, ttnn.float32, memory_config=place)
        ttnn.experimental.paged_update_cache(cache, given, update_idxs_tensor=counters(mesh, [slot]), page_table=table)
        return new[0, 0, 0]

    for dtype in (ttnn.bfloat16, ttnn.bfloat8_b, ttnn.bfloat4_b):
        cache = paged(mesh, 2, 1, dtype)
        write(cache, 0)
        assert isinstance(cache.storage.unmade, Halves)
        narrow = get(cache).float()
        with ttnn.exact_values():
            new = write(cache, 1)
            assert cache.storage.unmade is None
            exact = get(cache).float()
            assert torch.equal(exact[1, 0, 1], new)
            assert torch.equal(exact[1, 0, 0], narrow[1, 0, 0])
        write(cache, 2)
        with ttnn.exact_values():
            assert torch.equal(get(cache)[1, 0, :2].float(), exact[1, 0, :2]), "what has more bits keeps them"
    cache = paged(mesh, 2, 1, ttnn.float32)
    new = write(cache, 3)
    assert torch.equal(get(cache)[1, 0, 3], new)
    assert cache.storage.unmade is None


def test_a_cache_that_is_seen_in_another_shape() -> None:
    """Written as 4 blocks of 64, then as 8 of 32: the same memory."""
    mesh = open_mesh()
    place = sharded("HEIGHT", 1, 32, WIDTH)
    cache = ttnn.zeros([4, 1, 64, WIDTH], dtype=ttnn.bfloat16, layout=TILE, device=mesh)
    halves = ttnn.reshape(cache, [8, 1, 32, WIDTH])
    for seen, page, value in ((cache, 3, 1.0), (halves, 7, 2.0)):
        new = put(mesh, torch.full((1, 1, 1, WIDTH), value), ttnn.bfloat16, memory_config=place)
        table = counters(mesh, [[page]])
        ttnn.experimental.paged_update_cache(seen, new, update_idxs_tensor=counters(mesh, [0]), page_table=table)
    written = get(halves)[:, 0, :, 0].float()
    assert written.nonzero().tolist() == [[6, 0], [7, 0]]
    assert written[7, 0] == 2.0


def test_one_cache_was_written_and_the_other_was_not() -> None:
    mesh = open_mesh()
    k, v = (put(mesh, torch.ones(2, 1, BLOCK, WIDTH), ttnn.bfloat16) for _ in range(2))
    one = put(mesh, torch.ones(1, 1, 1, WIDTH), memory_config=sharded("HEIGHT", 1, 32, WIDTH))
    table, at = counters(mesh, [[1]]), counters(mesh, [3])
    ttnn.experimental.paged_update_cache(k, one, update_idxs_tensor=at, page_table=table)
    for scale in (0.25, 0.0, -0.25):
        result = ttnn.transformer.paged_scaled_dot_product_attention_decode(
            put(mesh, torch.randn(1, 1, 2, WIDTH), ttnn.bfloat16), k, v, table, cur_pos_tensor=at, scale=scale
        )
        assert torch.equal(get(result).float(), torch.ones(1, 1, 2, WIDTH))


def test_what_was_made_with_rounding_off_is_rounded_into_a_cache() -> None:
    mesh = open_mesh()
    x = torch.randn(1, 1, 32, WIDTH)
    with ttnn.exact_values():
        exact = put(mesh, x, ttnn.bfloat16)
    cache = paged(mesh, 2, 1)
    ttnn.experimental.paged_fill_cache(cache, exact, counters(mesh, [[1]]), batch_idx=0)
    assert (get(cache)[1, 0].float() - x[0, 0]).abs().max() <= x.abs().max() * 2**-8
    assert (get(cache)[1, 0].float().abs() > x[0, 0].abs()).any(), "not cut"


@pytest.mark.parametrize(("width", "block"), [(32, 32), (96, 64), (128, 32), (40, 32), (8, 24)])
@pytest.mark.parametrize(("heads", "kv_heads"), [(1, 1), (2, 1), (3, 1), (4, 2), (7, 1), (12, 2)])
def test_halves_are_attended_to_as_floats_are(heads: int, kv_heads: int, width: int, block: int) -> None:
    """To the last bit; and both as attention is defined."""
    generator = torch.Generator().manual_seed(0)
    positions, pages = torch.tensor([0, 23, 24, 70], dtype=torch.int32), 3
    users, blocks = len(positions), len(positions) * pages
    q = torch.randn(2, users, heads, width, generator=generator).bfloat16().float()
    k, v = (torch.randn(2, blocks, kv_heads, block, width, generator=generator).bfloat16().float() for _ in range(2))
    table = torch.randperm(blocks, generator=generator).to(torch.int32).reshape(users, pages)
    floats = attend(q, k, v, table, positions, 0.25)
    kept = [Halves.of(cache) for cache in (k, v)]
    assert kept[0] is not None
    assert kept[1] is not None
    assert torch.equal(attend(q, *kept, table, positions, 0.25), floats)
    for device in range(2):
        for user, position in enumerate(positions.tolist()):
            rows = (cache[device, table[user]].transpose(1, 2).flatten(0, 1)[: position + 1] for cache in (k, v))
            expected = plain_attention(q[device, user], *rows, 0.25)
            torch.testing.assert_close(floats[device, user], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("length", [1, 31, 32, 33, 70])
def test_fill_writes_the_pages_of_the_users(length: int) -> None:
    mesh = open_mesh()
    x = torch.randn(2, 2, length, WIDTH)
    cache = paged(mesh, 8, 2, ttnn.float32)
    table = counters(mesh, [[7, 7, 7], [5, 0, 2], [1, 4, 6]])
    ttnn.experimental.paged_fill_cache(cache, put(mesh, x), table, batch_idx_tensor=counters(mesh, [2, 1]))
    for row, pages in enumerate(([1, 4, 6], [5, 0, 2])):
        for token in range(length):
            assert torch.equal(get(cache)[pages[token // BLOCK], :, token % BLOCK], x[row, :, token])
    assert get(cache)[7].abs().sum() == 0


def test_fill_skips_pages_of_minus_one() -> None:
    mesh = open_mesh()
    cache = paged(mesh, 3, 1, ttnn.float32)
    x = torch.randn(1, 1, 64, WIDTH)
    ttnn.experimental.paged_fill_cache(cache, put(mesh, x), counters(mesh, [[-1, 2]]), batch_idx=0)
    assert torch.equal(get(cache)[2, 0], x[0, 0, 32:])
    assert get(cache)[:2].abs().sum() == 0


@pytest.mark.parametrize("devices", [1, 2])
def test_paged_decode_attention_against_plain_attention(devices: int) -> None:
    mesh = open_mesh(devices)
    positions, pages, heads, kv_heads = [0, 31, 32, -1, 100, 95], 4, 4, 2
    users = len(positions)
    table = torch.randperm(users * pages).reshape(users, pages)
    q = torch.randn(devices, users, heads, WIDTH).bfloat16()
    k, v = (torch.randn(devices * users * pages, kv_heads, BLOCK, WIDTH).bfloat16() for _ in range(2))
    result = ttnn.transformer.paged_scaled_dot_product_attention_decode(
        put(mesh, q, ttnn.bfloat16, shard=0),
        put(mesh, k, ttnn.bfloat16, shard=0),
        put(mesh, v, ttnn.bfloat16, shard=0),
        page_table_tensor=counters(mesh, table),
        cur_pos_tensor=counters(mesh, positions),
        scale=0.25,
    )
    assert result.memory_config() == ttnn.DRAM_MEMORY_CONFIG
    for device in range(devices):
        keys, values = (t.chunk(devices)[device].float() for t in (k, v))
        for user, position in enumerate(positions):
            ours = get(result, device)[0, user].float()
            if position < 0:
                assert not ours.isfinite().all(), "the row is not written"
                continue
            own_k, own_v = (t[table[user]].transpose(1, 2).flatten(0, 1)[: position + 1] for t in (keys, values))
            expected = plain_attention(q[device, user].float(), own_k, own_v, 0.25)
            torch.testing.assert_close(ours, expected, rtol=0.01, atol=0.01)


def test_a_user_does_not_depend_on_the_others_to_the_last_bit() -> None:
    """Alone among 32, among users of other lengths, and in a batch of one."""
    mesh = open_mesh()
    pages, heads = 10, 2
    q = torch.randn(1, 32, heads, WIDTH)
    k, v = (put(mesh, torch.randn(32 * pages, 1, BLOCK, WIDTH), ttnn.bfloat16) for _ in range(2))
    table = torch.arange(32 * pages).reshape(32, pages)

    def row(positions: list[int], users: slice) -> torch.Tensor:
        result = ttnn.transformer.paged_scaled_dot_product_attention_decode(
            put(mesh, q[:, users], ttnn.bfloat16),
            k,
            v,
            counters(mesh, table[users]),
            cur_pos_tensor=counters(mesh, positions),
        )
        return get(result)[0, positions.index(123)]

    alike, alone, mixed = [120] * 32, [-1] * 32, list(range(200, 232))
    for positions in (alike, alone, mixed):
        positions[5] = 123
    one = row([123], slice(5, 6))
    for positions in (alike, alone, mixed):
        assert torch.equal(row(positions, slice(0, 32)), one)


@pytest.mark.parametrize("length", [1, 33, 130])
def test_prefill_attention(length: int) -> None:
    mesh = open_mesh()
    q, k, v = torch.randn(2, 4, length, WIDTH), torch.randn(2, 2, length, WIDTH), torch.randn(2, 2, length, WIDTH)
    with ttnn.exact_values():
        args = [put(mesh, t, ttnn.bfloat16) for t in (q, k, v)]
        result = ttnn.transformer.scaled_dot_product_attention(*args, is_causal=True)
        joined = ttnn.transformer.scaled_dot_product_attention(*args, is_causal=True, output_concat_heads=True)
        for batch in range(2):
            for row in {0, length // 2, length - 1}:
                expected = plain_attention(
                    q[batch, :, row],
                    k[batch, :, : row + 1].transpose(0, 1),
                    v[batch, :, : row + 1].transpose(0, 1),
                    WIDTH**-0.5,
                )
                torch.testing.assert_close(get(result)[batch, :, row], expected, rtol=1e-4, atol=1e-5)
                torch.testing.assert_close(get(joined)[batch, 0, row], expected.flatten(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("ends", [[0, 32, 96, 128], [0, 0, 64, 64, 128, 128], [0, 128], [0, 40, 41, 128]])
def test_a_window_sees_its_own_rows_only(ends: list[int]) -> None:
    """Also empty windows, and such that end within a tile; heads side by side."""
    mesh = open_mesh()
    q, k, v = (torch.randn(1, heads, 128, WIDTH) for heads in (4, 2, 2))
    with ttnn.exact_values():
        result = get(
            ttnn.transformer.scaled_dot_product_attention(
                *(put(mesh, x, ttnn.bfloat16) for x in (q, k, v)),
                cu_window_seqlens=counters(mesh, ends),
                output_concat_heads=True,
                scale=0.25,
            )
        )
    for first, last in pairwise(ends):
        for row in range(first, last):
            keys, values = (x[0, :, first : row + 1].transpose(0, 1) for x in (k, v))
            expected = plain_attention(q[0, :, row], keys, values, 0.25)
            torch.testing.assert_close(result[0, 0, row], expected.flatten(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("ends", [[0, 96], [32, 128], [0, 64, 32, 128]])
def test_windows_that_are_no_partition_are_refused(ends: list[int]) -> None:
    """The chip would read beyond the tensor, or leave rows out."""
    mesh = open_mesh()
    x = put(mesh, torch.randn(1, 2, 128, WIDTH), ttnn.bfloat16)
    with pytest.raises(RuntimeError, match="cu_window_seqlens must rise from 0 to 128"):
        ttnn.transformer.scaled_dot_product_attention(x, x, x, cu_window_seqlens=counters(mesh, ends))


@pytest.mark.parametrize("rows_at_once", [512, 12])
def test_chunked_attention_against_plain_attention(rows_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two users' chunks of positions 64 to 95, the earlier tokens in blocks in any order."""
    monkeypatch.setattr("ttnn_cpu.ops.sdpa._QUERY_BLOCK", rows_at_once)
    mesh = open_mesh()
    start, chunk, heads, kv_heads = 64, 32, 4, 2
    table = torch.tensor([[5, 0, 3], [2, 4, 1]])
    q = torch.randn(2, heads, chunk, WIDTH).bfloat16()
    k, v = (torch.randn(6, kv_heads, BLOCK, WIDTH).bfloat16() for _ in range(2))
    on_mesh = [put(mesh, t, ttnn.bfloat16) for t in (q, k, v)]
    result = get(
        ttnn.transformer.chunked_scaled_dot_product_attention(
            *on_mesh, counters(mesh, table), chunk_start_idx=start, scale=0.25
        )
    )
    for user in range(2):
        own_k, own_v = (t[table[user]].transpose(1, 2).flatten(0, 1).float() for t in (k, v))
        for row in range(chunk):
            seen = start + row + 1
            expected = plain_attention(q[user, :, row].float(), own_k[:seen], own_v[:seen], 0.25)
            torch.testing.assert_close(result[user, :, row].float(), expected, rtol=0.01, atol=0.01)


@pytest.mark.parametrize("as_tensor", [False, True])
def test_chunks_equal_the_whole(as_tensor: bool) -> None:
    mesh = open_mesh(2)
    length, chunk = 96, 32
    q, k, v = torch.randn(2, 4, length, WIDTH), torch.randn(2, 2, length, WIDTH), torch.randn(2, 2, length, WIDTH)
    pages = counters(mesh, [[2, 0, 1, 0, 0, 0, 0, 0]])  # rows of 32 bytes
    with ttnn.exact_values():
        whole = ttnn.transformer.scaled_dot_product_attention(
            *(put(mesh, t, ttnn.bfloat16, shard=0) for t in (q, k, v))
        )
        caches = [paged(mesh, 3, 2), paged(mesh, 3, 2)]
        for start in range(0, length, chunk):
            part = slice(start, start + chunk)
            for cache, new in zip(caches, (k, v), strict=True):
                ttnn.experimental.paged_fill_cache(
                    cache,
                    put(mesh, new[:, :, part], ttnn.bfloat16, shard=0),
                    counters(mesh, [[2, 0, 1][start // chunk :]]),
                )
            where = {"chunk_start_idx_tensor": counters(mesh, [start])} if as_tensor else {"chunk_start_idx": start}
            result = ttnn.transformer.chunked_scaled_dot_product_attention(
                put(mesh, q[:, :, part], ttnn.bfloat16, shard=0), *caches, pages, **where
            )
            for device in range(2):
                torch.testing.assert_close(get(result, device), get(whole, device)[:, :, part], rtol=1e-4, atol=1e-5)
