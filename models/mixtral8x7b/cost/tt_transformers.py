"""Tenstorrent's own models (tt_transformers), as lists of operations read from its public code: no profile of most of
them is published. docs/cost_model.md says what a layer is made of. All times by the same laws as our own program's.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from models.mixtral8x7b.cost import elementwise, matmul, sdpa
from models.mixtral8x7b.cost.chip import CORES, PAGE_GB_S, over_banks_bytes, tiled_bytes, tiles
from models.mixtral8x7b.cost.collectives import collective
from models.mixtral8x7b.cost.operation import Cost, Step

ROWS = 32  # of a decode step, users or not
BLOCK_TILES = 8
CHUNK_ROWS = 4096  # of a prefill, at most
EXPERT_COLUMNS = 64  # of the router's weight
_BF16, _BFP8, _BFP4 = "BFLOAT16", "BFLOAT8_B", "BFLOAT4_B"
Costs = Iterator[tuple[Cost, int]]


@dataclass(frozen=True)
class Model:
    """hidden: of the feed-forward, of one expert where there are experts: then each chip has one of its own."""

    dim: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    hidden: int
    vocabulary: int
    has_experts: bool = False
    gate_up: tuple[str, str] = (_BFP4, "LoFi")  # dtype and fidelity of FF1 and FF3
    down: tuple[str, str] = (_BFP8, "HiFi2")
    attention: tuple[str, str] = (_BFP8, "HiFi2")


@dataclass(frozen=True)
class Machine:
    """older: before 2026-04."""

    n_chips: int
    fabric: str = "ring"
    older: bool = False
    links: int = 1


# tt_transformers passes bfp8 to all experts, whatever the preset
MIXTRAL = Model(4096, 32, 32, 8, 128, 14336, 32000, has_experts=True, gate_up=(_BFP8, "LoFi"), down=(_BFP8, "LoFi"))


def decode_step(model: Model, machine: Machine, users: int, context: int, chosen_on_chips: bool) -> Step:
    """One token of each of `users`."""
    layer = list(_decode_layer(model, machine, users, context))
    costs = [(cost, model.n_layers * count) for cost, count in layer]
    return Step.of([*costs, *_head(model, machine, chosen_on_chips)])


def prefill_passes(model: Model, machine: Machine, length: int) -> list[Step]:
    """One prompt, padded, in chunks."""
    padded = 1 << max(7, (length - 1).bit_length()) if length <= CHUNK_ROWS else -(-length // CHUNK_ROWS) * CHUNK_ROWS
    rows = min(padded, CHUNK_ROWS)
    passes = []
    for before in range(0, padded, rows):
        layer = list(_prefill_layer(model, machine, rows, before))
        costs = [(cost, model.n_layers * count) for cost, count in layer]
        is_last = before + rows == padded
        passes.append(Step.of([*costs, *(_head(model, machine, chosen_on_chips=False) if is_last else ())]))
    return passes


# ---------------------------------------------------------------- decode


def _decode_layer(model: Model, machine: Machine, users: int, context: int) -> Costs:
    n, heads, kv_heads = machine.n_chips, model.n_heads // machine.n_chips, max(1, model.n_kv_heads // machine.n_chips)
    whole = ROWS * model.dim * 2.0
    residual = -(-tiles(model.dim // n) // 32)
    yield from _joined("all_gather", whole, machine)
    yield elementwise.constant("norm", elementwise.NORM_US), 1
    columns = (heads + 2 * kv_heads) * model.head_dim
    yield _over_banks(model.dim, columns, model.attention).named("QKV", ""), 1
    yield elementwise.in_l1("to interleaved", -(-tiles(columns) // CORES)), 1
    yield elementwise.constant("make heads", elementwise.MAKE_HEADS_US), 1
    yield elementwise.constant("rotation", elementwise.ROTATION_US), 1
    yield elementwise.constant("cache update", elementwise.CACHE_UPDATE_US), 1
    yield sdpa.decode(users, kv_heads, model.head_dim, context, _BFP8), 1
    yield elementwise.in_l1("to sharded", 1), 1
    yield elementwise.constant("join heads", elementwise.JOIN_HEADS_US), 1
    if model.has_experts:  # the heads are gathered, and each chip makes its columns of the residual
        yield from _joined("all_gather", ROWS * model.n_heads * model.head_dim * 2.0, machine)
        yield _over_banks(model.n_heads * model.head_dim, model.dim // n, model.attention).named("WO", ""), 1
    else:
        yield _over_banks(heads * model.head_dim, model.dim, model.attention).named("WO", ""), 1
        yield from _joined("reduce_scatter", whole, machine)
    yield elementwise.in_l1("add", residual), 2
    yield from _joined("all_gather", whole, machine)
    yield elementwise.constant("norm", elementwise.NORM_US), 1
    yield elementwise.in_l1("to sharded", 4), 1
    if model.has_experts:
        yield from _router(model)
    hidden = model.hidden if model.has_experts else model.hidden // n
    up = _over_banks(model.dim, hidden, model.gate_up)
    yield up.named("FF1, FF3", ""), 2
    yield elementwise.in_l1("multiply", -(-tiles(hidden) // CORES)), 1
    yield _over_banks(hidden, model.dim, model.down).named("FF2", ""), 1
    if model.has_experts:
        yield elementwise.in_l1("times the weight", -(-tiles(model.dim) // 32)), 1
    yield from _joined("reduce_scatter", whole, machine)
    yield elementwise.in_l1("to sharded", residual), 2 if model.has_experts else 1


def _router(model: Model) -> Costs:
    yield matmul.narrow(ROWS, model.dim, EXPERT_COLUMNS, _BF16, "LoFi", 4).named("router", ""), 1
    yield elementwise.in_l1("mask", 1), 1
    yield elementwise.topk(ROWS, EXPERT_COLUMNS, 32, 0.0, 0.0), 1
    yield elementwise.in_l1("softmax", 1, elementwise.SOFTMAX_PASSES), 1
    yield elementwise.in_l1("own weight", 1), 3


def _head(model: Model, machine: Machine, chosen_on_chips: bool) -> Costs:
    """Ids and rotations, the last norm, the head, and the choice of tokens."""
    share = -(-model.vocabulary // machine.n_chips)
    yield elementwise.constant("embedding", elementwise.EMBEDDING_US), 1
    yield elementwise.in_l1("rotations", 2), 4
    yield from _joined("all_gather", ROWS * model.dim * 2.0, machine)
    yield elementwise.constant("norm", elementwise.NORM_US), 1
    yield _over_banks(model.dim, share, (_BFP8, "HiFi2")).named("head", ""), 1
    if not chosen_on_chips:
        return
    yield elementwise.in_l1("untilize", tiles(share) // 32), 1
    if machine.n_chips == 8:
        width = 1 << (share - 1).bit_length()
        yield elementwise.topk(ROWS, width, 32, 0.0, 0.0), 1
        yield from _joined("all_gather", ROWS * 32 * machine.n_chips * 4.0, machine)
        yield elementwise.constant("sampling", elementwise.SAMPLING_US), 1
    else:
        yield elementwise.argmax(share), 1
        yield from _joined("all_gather", ROWS * model.vocabulary * 2.0, machine)


# ---------------------------------------------------------------- prefill


def _prefill_layer(model: Model, machine: Machine, rows: int, before: int) -> Costs:
    n, heads, kv_heads = machine.n_chips, model.n_heads // machine.n_chips, max(1, model.n_kv_heads // machine.n_chips)
    whole = rows * model.dim * 2.0
    yield _moved("norm", rows, model.dim // n, _BF16, 2, elementwise.NORM_PASSES), 2
    yield from ((cost, 2 * count) for cost, count in _joined("all_gather", whole, machine))
    columns = (heads + 2 * kv_heads) * model.head_dim
    yield _many_rows(rows, model.dim, columns, model.attention).named("QKV", ""), 1
    yield _moved("make heads", rows, columns, _BF16, 2), 1
    yield _moved("rotation of queries", rows, heads * model.head_dim, _BF16, 2), 1
    yield _moved("rotation of keys", rows, kv_heads * model.head_dim, _BF16, 2), 1
    yield _moved("cast of queries", rows, heads * model.head_dim, _BF16, 2), 1
    yield _moved("cast of keys, values", rows, kv_heads * model.head_dim, _BF16, 2), 2
    yield _moved("cache fill", rows, kv_heads * model.head_dim, _BFP8, 2), 2
    read = tiled_bytes(rows, heads * model.head_dim, _BF16) * 2
    yield sdpa.prefill(heads, model.head_dim, [(rows, before)], read), 1
    yield _moved("join heads", rows, heads * model.head_dim, _BF16, 2), 1
    if model.has_experts:
        yield from _joined("all_gather", rows * model.n_heads * model.head_dim * 2.0, machine)
        yield _many_rows(rows, model.n_heads * model.head_dim, model.dim // n, model.attention).named("WO", ""), 1
    else:
        yield _many_rows(rows, heads * model.head_dim, model.dim, model.attention).named("WO", ""), 1
        yield from _joined("reduce_scatter", whole, machine)
    yield _moved("add", rows, model.dim // n, _BF16, 3), 2
    if model.has_experts:
        yield _many_rows(rows, model.dim, EXPERT_COLUMNS, (_BF16, "LoFi")).named("router", ""), 1
        yield _moved("choice of experts", rows, EXPERT_COLUMNS, _BF16, 2), 7
    hidden = model.hidden if model.has_experts else model.hidden // n
    yield _many_rows(rows, model.dim, hidden, model.gate_up).named("FF1, FF3", ""), 2
    yield _moved("multiply", rows, hidden, _BFP8, 3), 1
    yield _many_rows(rows, hidden, model.dim, model.down).named("FF2", ""), 1
    if model.has_experts:
        yield _moved("times the weight", rows, model.dim, _BFP8, 2), 1
    yield from _joined("reduce_scatter", whole, machine)


# ---------------------------------------------------------------- operations


def _over_banks(inner: int, columns: int, of: tuple[str, str]) -> Cost:
    return matmul.over_banks(ROWS, inner, columns, of[0], of[1], BLOCK_TILES)


def _many_rows(rows: int, inner: int, columns: int, of: tuple[str, str]) -> Cost:
    moved = tiled_bytes(rows, inner, _BFP8) + tiled_bytes(rows, columns, _BFP8)
    return matmul.prefill(rows, inner, columns, of[0], of[1], moved, over_banks_bytes(inner, columns, of[0]))


def _moved(name: str, rows: int, columns: int, dtype: str, times: int, passes: int = 1) -> Cost:
    """`times` tensors of this size read or written."""
    moved = float(times * tiled_bytes(rows, columns, dtype))
    return elementwise.through_dram(name, tiles(rows) * tiles(columns), moved / 1e3 / PAGE_GB_S[dtype], moved, passes)


def _joined(kind: str, whole: float, machine: Machine) -> Costs:
    """Nothing on one chip."""
    if machine.n_chips > 1:
        cost = collective(kind, whole, machine.n_chips, machine.fabric, machine.older, machine.links)
        yield replace(cost, detail=f"{whole:.0f} bytes"), 1
