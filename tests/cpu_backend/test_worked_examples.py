"""One small example of each operation that moves or mixes values in its own way, worked by hand from ttnn's docstring.

Each test is named after its operation. Where columns are numbered, row r, column c holds 1000 r + c. Blocks of the
paged cache have 32 slots here. docs/operations.md says what else vouches for an operation.
"""

import pytest
import torch

import ttnn_cpu as ttnn
from tests.cpu_backend.helpers import ROWS, TILE, counters, get, open_mesh, put, sharded, turning_tile

BF16, F32 = ttnn.bfloat16, ttnn.float32


@pytest.fixture
def mesh() -> ttnn.MeshDevice:
    return open_mesh()


def numbered(rows: int, columns: int) -> torch.Tensor:
    return (1000.0 * torch.arange(rows)[:, None] + torch.arange(columns)).reshape(1, 1, rows, columns)


def row_of(*first: float) -> torch.Tensor:
    """32 columns: these numbers, then zeros."""
    return torch.tensor([*first, *[0.0] * (32 - len(first))])


# ---------------------------------------------------------------- heads


def test_nlp_create_qkv_heads(mesh: ttnn.MeshDevice) -> None:
    """4 query and 2 KV heads of 32: columns 0 to 127 are q's heads, 128 to 191 k's, 192 to 255 v's."""
    fused = put(mesh, numbered(3, 256))
    q, k, v = ttnn.experimental.nlp_create_qkv_heads(fused, num_heads=4, num_kv_heads=2, transpose_k_heads=False)
    row, column = 2, 5
    assert get(q)[0, :, row, column].tolist() == [2005, 2037, 2069, 2101]
    assert get(k)[0, :, row, column].tolist() == [2133, 2165]
    assert get(v)[0, :, row, column].tolist() == [2197, 2229]
    _, turned_k, _ = ttnn.experimental.nlp_create_qkv_heads(fused, num_heads=4, num_kv_heads=2)
    assert get(turned_k)[0, :, column, row].tolist() == [2133, 2165]


def test_nlp_create_qkv_heads_decode(mesh: ttnn.MeshDevice) -> None:
    """The same columns; a row is a user, and comes before the heads."""
    fused = put(mesh, numbered(32, 256), memory_config=sharded("WIDTH", 8, 32, 32))
    q, k, v = ttnn.experimental.nlp_create_qkv_heads_decode(fused, num_heads=4, num_kv_heads=2)
    user, column = 2, 5
    assert get(q)[0, user, :, column].tolist() == [2005, 2037, 2069, 2101]
    assert get(k)[0, user, :, column].tolist() == [2133, 2165]
    assert get(v)[0, user, :, column].tolist() == [2197, 2229]


def test_nlp_concat_heads(mesh: ttnn.MeshDevice) -> None:
    """3 heads of 32, of which head h holds 1000 row + 100 h + column: head h takes columns 32 h to 32 h + 31."""
    heads = torch.cat([numbered(3, 32) + 100 * head for head in range(3)], 1)
    joined = get(ttnn.experimental.nlp_concat_heads(put(mesh, heads)))
    assert joined.shape == (1, 1, 3, 96)
    assert joined[0, 0, 2, [0, 5, 31, 32, 37, 63, 64, 69, 95]].tolist() == [
        *(2000, 2005, 2031),
        *(2100, 2105, 2131),
        *(2200, 2205, 2231),
    ]


def test_nlp_concat_heads_decode(mesh: ttnn.MeshDevice) -> None:
    """As above with users for rows, [1, users, heads, 32]; always 32 rows come out."""
    heads = torch.cat([numbered(3, 32) + 100 * head for head in range(3)], 1).transpose(1, 2)
    given = put(mesh, heads, memory_config=sharded("HEIGHT", 3, 32, 32))
    joined = get(ttnn.experimental.nlp_concat_heads_decode(given, num_heads=3))
    assert joined.shape == (1, 1, 32, 96)
    assert joined[0, 0, 2, [0, 31, 32, 63, 64, 95]].tolist() == [2000, 2031, 2100, 2131, 2200, 2231]


# ---------------------------------------------------------------- rotary embedding


def turns(*pairs: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """cos and sin rows of 32 columns, from (cos, sin) of the first pairs of columns; the others are not turned."""
    whole = [*pairs, *[(1, 0)] * (16 - len(pairs))]
    cos, sin = (torch.tensor([float(pair[i]) for pair in whole for _ in range(2)]) for i in (0, 1))
    return cos, sin


NONE, QUARTER, HALF = (1, 0), (0, 1), (-1, 0)


def test_rotary_embedding_llama(mesh: ttnn.MeshDevice) -> None:
    """Neighbouring columns are a pair (a, b): a quarter turn gives (-b, a), half a turn (-a, -b)."""
    x = torch.stack([row_of(3, 4, 1, 2, 5, 6)] * 2).reshape(1, 1, 2, 32)
    tables = zip(turns(NONE), turns(QUARTER, HALF), strict=True)
    cos, sin = (torch.stack(rows).reshape(1, 1, 2, 32) for rows in tables)
    given = [put(mesh, t, BF16) for t in (x, cos, sin, turning_tile().reshape(1, 1, 32, 32))]
    result = get(ttnn.experimental.rotary_embedding_llama(*given))
    assert result[0, 0, 0, :6].tolist() == [3, 4, 1, 2, 5, 6]
    assert result[0, 0, 1, :6].tolist() == [-4, 3, -1, -2, 5, 6]


def test_rotary_embedding_llama_fused_qk(mesh: ttnn.MeshDevice) -> None:
    """2 users: q's on cores 0 and 1, k's on cores 2 and 3; core i turns with row i of the tables."""
    on_cores = [
        put(
            mesh,
            torch.stack([row_of(*pair)] * 2).reshape(1, 2, 1, 32),
            BF16,
            memory_config=sharded("HEIGHT", 2, 32, 32, first),
        )
        for pair, first in (((3, 4), 0), ((1, 2), 2))
    ]
    tables = zip(turns(NONE), turns(QUARTER), turns(HALF), turns(QUARTER), strict=True)
    rows = [torch.stack(of_cores).reshape(1, 4, 1, 32) for of_cores in tables]
    cos, sin = (put(mesh, row, BF16, memory_config=sharded("HEIGHT", 4, 32, 32)) for row in rows)
    tiles = turning_tile().repeat(4, 1).reshape(1, 1, 128, 32)
    swap = put(mesh, tiles, BF16, memory_config=sharded("HEIGHT", 4, 32, 32))
    q, k = ttnn.experimental.rotary_embedding_llama_fused_qk(*on_cores, cos, sin, swap)
    assert get(q)[0, :, 0, :2].tolist() == [[3, 4], [-4, 3]]
    assert get(k)[0, :, 0, :2].tolist() == [[-1, -2], [-2, 1]]


# ---------------------------------------------------------------- matmul


def test_minimal_matmul(mesh: ttnn.MeshDevice) -> None:
    """[1, 2] @ [[3, 4, 5], [6, 7, 8]] is [15, 18, 21]; the bias comes before the activation."""
    x, weight, bias = (
        put(mesh, torch.tensor(rows), BF16)
        for rows in ([[1.0, 2.0]], [[3.0, 4.0, 5.0], [6.0, 7.0, 8.0]], [[1.0, -30.0, 0.0]])
    )
    assert get(ttnn.experimental.minimal_matmul(x, weight)).tolist() == [[15, 18, 21]]
    relu = ttnn.UnaryOpType.RELU
    result = ttnn.experimental.minimal_matmul(x, weight, bias_tensor=bias, fused_activation=relu)
    assert get(result).tolist() == [[16, 0, 21]]


# ---------------------------------------------------------------- paged cache and attention


def test_paged_fill_cache(mesh: ttnn.MeshDevice) -> None:
    """40 tokens of the user with pages 5, 0, 2: tokens 0 to 31 go to block 5, tokens 32 to 39 to block 0."""
    cache = ttnn.zeros([6, 2, 32, 32], dtype=BF16, layout=TILE, device=mesh)
    tokens = torch.arange(40.0)[:, None].expand(40, 32)
    new = torch.stack([tokens, tokens + 100])[None]  # of two heads
    table = counters(mesh, [[1, 3, 4], [5, 0, 2]])
    ttnn.experimental.paged_fill_cache(cache, put(mesh, new, BF16), table, batch_idx_tensor=counters(mesh, [1]))
    filled = get(cache)[..., 0]
    assert filled[5, 0, [0, 1, 31]].tolist() == [0, 1, 31]
    assert filled[0, 0, [0, 1, 7]].tolist() == [32, 33, 39]
    assert filled[5, 1, [0, 31]].tolist() == [100, 131]
    assert filled[0, 1, [0, 7]].tolist() == [132, 139]
    assert filled[1:5].abs().sum() == 0


def test_paged_fused_update_cache(mesh: ttnn.MeshDevice) -> None:
    """Token 37 of the user with pages 4, 1 goes to block 1, slot 5; position -1 is nobody; keys 7, values 9."""
    keys, values = (ttnn.zeros([6, 1, 32, 32], dtype=BF16, layout=TILE, device=mesh) for _ in range(2))
    new = [
        put(mesh, torch.full((1, 3, 1, 32), number), memory_config=sharded("HEIGHT", 3, 32, 32, first))
        for number, first in ((7.0, 0), (9.0, 3))
    ]
    ttnn.experimental.paged_fused_update_cache(
        keys, new[0], values, new[1],
        update_idxs_tensor=counters(mesh, [37, -1, 0]), page_table=counters(mesh, [[4, 1], [0, 5], [3, 2]]),
    )  # fmt: skip
    for cache, number in ((keys, 7), (values, 9)):
        assert get(cache)[..., 0].nonzero().tolist() == [[1, 0, 5], [3, 0, 0]]
        assert get(cache)[1, 0, 5].tolist() == [number] * 32


def cache_of(mesh: ttnn.MeshDevice, tokens: torch.Tensor, pages: tuple[int, int]) -> ttnn.Tensor:
    """2 blocks, 2 KV heads: in the first head token t is tokens[t], in the second 100 more."""
    blocks = torch.zeros(2, 2, 32, 32)
    for number, page in enumerate(pages):
        part = tokens[32 * number : 32 * number + 32, None].expand(32, 32)
        blocks[page] = torch.stack([part, part + 100])
    return put(mesh, blocks, BF16)


def test_paged_scaled_dot_product_attention_decode(mesh: ttnn.MeshDevice) -> None:
    """With equal scores a query gets the mean of values 0 to position; query heads 0, 1 share a KV head, so do 2, 3."""
    pages, positions = (1, 0), [0, 5, 40]
    keys, values = cache_of(mesh, torch.zeros(64), pages), cache_of(mesh, torch.arange(64.0), pages)
    table, last = counters(mesh, [pages] * 3), counters(mesh, positions)

    def attended(q: torch.Tensor) -> torch.Tensor:
        result = ttnn.transformer.paged_scaled_dot_product_attention_decode(
            put(mesh, q, BF16), keys, values, page_table_tensor=table, cur_pos_tensor=last, scale=1.0
        )
        return get(result)[0, :, :, 0]

    q = torch.zeros(1, 3, 4, 32)
    means = [[0, 0, 100, 100], [2.5, 2.5, 102.5, 102.5], [20, 20, 120, 120]]
    assert attended(q).tolist() == means
    # key 3 scores ln 2 above the others: it counts twice. (0 + 1 + 2 + 3 + 3 + 4 + 5) / 7
    with ttnn.exact_values():
        scores = torch.zeros(64)
        scores[3] = 2.0
        keys, values = cache_of(mesh, scores, pages), cache_of(mesh, torch.arange(64.0), pages)
        q[..., 0] = torch.log(torch.tensor(2.0)) / 2
        assert attended(q)[1, 0].item() == pytest.approx(18 / 7)


def test_chunked_scaled_dot_product_attention(mesh: ttnn.MeshDevice) -> None:
    """The chunk of positions 32 to 63: its row i sees tokens 0 to 32 + i, with equal scores their mean (32 + i) / 2."""
    pages = (1, 0)
    keys, values = cache_of(mesh, torch.zeros(64), pages), cache_of(mesh, torch.arange(64.0), pages)
    result = ttnn.transformer.chunked_scaled_dot_product_attention(
        put(mesh, torch.zeros(1, 4, 32, 32), BF16), keys, values, counters(mesh, [pages]), chunk_start_idx=32
    )
    assert get(result)[0, 0, [0, 1, 31], 0].tolist() == [16, 16.5, 31.5]
    assert get(result)[0, :, 30, 0].tolist() == [31, 31, 131, 131]


# ---------------------------------------------------------------- sampling


def test_sampling(mesh: ttnn.MeshDevice) -> None:
    """Candidates 30 and 70 with logits 2 and 1, weights 0.731 and 0.269; halved by the temperature 0.622 and 0.378.

    p keeps the shortest prefix whose sum exceeds it. Columns: k, p, 1 / temperature, and what can be drawn.
    """
    users = [
        (1, 1.0, 1.0, {30}),
        (2, 0.0, 1.0, {30}),
        (2, 0.7, 1.0, {30}),
        (2, 0.7, 0.5, {30, 70}),
        (2, 1.0, 1.0, {30, 70}),
    ]
    n = len(users)
    logits = torch.full((1, 1, n, 64), -torch.inf)
    logits[..., :32] = 0.0
    logits[..., 3], logits[..., 7] = 2.0, 1.0
    ids = counters(mesh, (10 * torch.arange(64)).repeat(1, 1, n, 1))
    k = counters(mesh, [user[0] for user in users], ttnn.uint32)
    p, inverse_temperature = (put(mesh, torch.tensor([user[i] for user in users]), BF16, ROWS) for i in (1, 2))
    ttnn.manual_seed(1, device=mesh)
    steps = [get(ttnn.sampling(put(mesh, logits, BF16), ids, k, p, inverse_temperature)) for _ in range(100)]
    drawn = torch.cat(steps).reshape(100, n).T
    assert [set(row.tolist()) for row in drawn] == [user[3] for user in users]
