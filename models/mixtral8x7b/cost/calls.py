"""Recorded calls to device operations and their costs. Which operations a call is made of: ttnn's graph capture on the
mocked T3000 (tests/mock/test_cost.py counts them).

What no record says is in `Load`: how long the users' contexts are, which prompts a pass holds, how tokens are routed.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from models.mixtral8x7b.cost import elementwise, matmul, sdpa
from models.mixtral8x7b.cost.chip import PAGE_GB_S, TILE_BYTES, VALUE_BYTES
from models.mixtral8x7b.cost.collectives import collective
from models.mixtral8x7b.cost.operation import Cost
from models.mixtral8x7b.cost.specs import Spec, spec_of
from models.mixtral8x7b.mistake import Mistake

FULLEST = 1.2  # assumed: rows of the chip with most rows of a routed pass, to the mean
MOST_STEP_ROWS = 64  # that a decode step looks up: 32 of ids, twice as many of rotations


class CostError(Mistake):
    """A call for which the model has no law."""


class RecordedCall(Protocol):
    """ttnn_cpu.recorder.Call."""

    @property
    def name(self) -> str: ...
    @property
    def inputs(self) -> tuple[str, ...]: ...
    @property
    def arguments(self) -> tuple[tuple[str, str], ...]: ...
    @property
    def outputs(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Load:
    """n_chips on a ring or a line. users: who decode, each with `context` positions. pieces: of a prefill pass, each
    its rows and the positions before them. share: of a pass's rows that the fullest chip's expert takes."""

    n_chips: int
    fabric: str = "ring"
    users: int = 32
    context: int = 1
    pieces: tuple[tuple[int, int], ...] = ()
    share: float = 1.0


class _Call:
    """One call with its texts read."""

    def __init__(self, call: RecordedCall) -> None:
        self.name = call.name
        self.arguments = dict(call.arguments)
        self.inputs = [spec for spec in map(spec_of, call.inputs) if spec is not None]
        self.outputs = [spec for spec in map(spec_of, call.outputs) if spec is not None]

    @property
    def out(self) -> Spec:
        return self.outputs[0]

    @property
    def fidelity(self) -> str:
        found = re.search(r"math_fidelity=MathFidelity\.(\w+)", self.arguments.get("compute_kernel_config", ""))
        return found[1] if found else "HiFi2"

    def number(self, argument: str, key: str, default: int) -> int:
        found = re.search(rf"\b{key}=(\d+)", self.arguments.get(argument, ""))
        return int(found[1]) if found else default

    @property
    def moved(self) -> float:
        """Bytes through DRAM, read and written."""
        return float(sum(spec.dram for spec in (*self.inputs, *self.outputs)))

    @property
    def dram_us(self) -> float:
        return sum(spec.dram_us for spec in (*self.inputs, *self.outputs))

    @property
    def l1(self) -> float:
        return float(sum(spec.l1 for spec in (*self.inputs, *self.outputs)))

    def detail(self) -> str:
        return f"{', '.join(spec.text() for spec in self.inputs)} -> {', '.join(spec.text() for spec in self.outputs)}"


_Law = Callable[[_Call, Load], Iterator[Cost]]


def costs_of(call: RecordedCall, load: Load) -> list[Cost]:
    """The call's device operations; none for one that only renames, or moves between host and chips."""
    read = _Call(call)
    if not read.outputs or any(spec.place == "HOST" for spec in (*read.inputs, *read.outputs)):
        return []
    law = _LAWS.get(call.name)
    if law is None:
        raise CostError(f"there is no law for {call.name}; add one to models/mixtral8x7b/cost/calls.py")
    detail = f"{read.detail()} {read.fidelity if call.name in _MATMULS else ''}".strip()
    name = call.name.rpartition(".")[2]
    return [cost.named(f"{name}: {cost.name}" if cost.name in _BESIDE else name, detail) for cost in law(read, load)]


# ---------------------------------------------------------------- by operation


def _matmul(call: _Call, load: Load) -> Iterator[Cost]:
    x, weight, out = call.inputs[0], call.inputs[1], call.out
    inner, columns = weight.shape[-2], weight.columns
    block = call.number("program_config", "in0_block_w", 4)
    if weight.place == "DRAM" and weight.shard is not None and x.place == "L1":
        yield matmul.over_banks(x.rows, inner, columns, weight.dtype, call.fidelity, block, call.l1)
    elif x.place == "L1":
        yield matmul.narrow(x.rows, inner, columns, weight.dtype, call.fidelity, block)
    else:
        moved = float(x.dram + out.dram)
        yield matmul.prefill(x.rows, inner, columns, weight.dtype, call.fidelity, moved, weight.bytes)


def _sparse_matmul(call: _Call, load: Load) -> Iterator[Cost]:
    """Zeros first, then the blocks that hold rows of the fullest chip's expert."""
    x, weight, out = call.inputs[0], call.inputs[1], call.out
    rows, n_blocks = x.shape[-2], x.shape[0]
    in_use = min(n_blocks, -(-int(load.share * n_blocks * rows) // rows))
    yield elementwise.through_dram("zeros", out.tiles, out.dram_us, out.dram)
    moved = (x.dram + out.dram) / n_blocks
    inner, columns = weight.shape[-2], weight.columns
    yield matmul.blocks(in_use, rows, inner, columns, weight.dtype, call.fidelity, moved, weight.bytes)


def _attention_decode(call: _Call, load: Load) -> Iterator[Cost]:
    keys = call.inputs[1]
    yield sdpa.decode(
        load.users,
        keys.shape[1],
        keys.columns,
        load.context,
        keys.dtype,
        call.fidelity,
        call.inputs[0].l1 + call.out.l1,
    )


def _attention_prefill(call: _Call, load: Load) -> Iterator[Cost]:
    """The pass's own rows, each prompt's piece for itself."""
    queries = call.inputs[0]
    pieces = [(rows, 0) for rows, _ in load.pieces]
    moved = sum(spec.dram for spec in call.inputs[:3]) + call.out.dram
    yield sdpa.prefill(queries.shape[1], queries.columns, pieces, moved, call.fidelity)


def _attention_continued(call: _Call, load: Load) -> Iterator[Cost]:
    """A piece that goes on from the cache; of several in a pass each call is the mean of them."""
    queries, keys = call.inputs[0], call.inputs[1]
    going_on = [piece for piece in load.pieces if piece[1]]
    rows = queries.shape[-2]
    before = sum(start for _, start in going_on) / len(going_on)
    read = 2 * (rows + before) * keys.shape[1] * keys.bytes / keys.rows
    moved = queries.dram + call.out.dram + read
    yield sdpa.prefill(queries.shape[1], queries.columns, [(rows, int(before))], moved, call.fidelity)


def _collective(call: _Call, load: Load) -> Iterator[Cost]:
    whole = max(call.inputs[0].bytes, call.out.bytes)
    yield collective(call.name, whole, load.n_chips, load.fabric)


def _topk(call: _Call, load: Load) -> Iterator[Cost]:
    x = call.inputs[0]
    yield elementwise.topk(x.rows, x.columns, int(call.arguments["k"]), call.dram_us, call.moved)


def _norm(call: _Call, load: Load) -> Iterator[Cost]:
    if call.inputs[0].place == "L1":
        yield elementwise.constant("norm", elementwise.NORM_US, call.moved, call.l1)
    else:
        yield from _tile_by_tile(call, elementwise.NORM_PASSES)


def _embedding(call: _Call, load: Load) -> Iterator[Cost]:
    """Rows of a table; a cast after it where the result has another dtype."""
    table, out = call.inputs[1], call.out
    read = float(out.rows * out.columns * VALUE_BYTES[table.dtype])
    if out.rows <= MOST_STEP_ROWS:
        yield elementwise.constant("embedding", elementwise.EMBEDDING_US, read + out.dram, out.l1)
        return
    rate, made = 1e3 * PAGE_GB_S[table.dtype], float(out.tiles * TILE_BYTES[table.dtype])
    yield elementwise.through_dram("embedding", out.tiles, (read + made) / rate, read + made)
    if out.dtype != table.dtype:
        yield elementwise.through_dram("cast", out.tiles, made / rate + out.dram_us, made + out.dram)


def _reshape(call: _Call, load: Load) -> Iterator[Cost]:
    """A view while rows keep their length."""
    if call.inputs[0].columns != call.out.columns:
        yield from _tile_by_tile(call)


def _elementwise(call: _Call, load: Load) -> Iterator[Cost]:
    yield from _tile_by_tile(call)


def _softmax(call: _Call, load: Load) -> Iterator[Cost]:
    yield from _tile_by_tile(call, elementwise.SOFTMAX_PASSES)


def _fill_cache(call: _Call, load: Load) -> Iterator[Cost]:
    """Writes its rows into the pool, which is not read."""
    given = call.inputs[1]
    yield elementwise.through_dram("fill", given.tiles, 2 * given.dram_us, 2.0 * given.dram)


def _slice(call: _Call, load: Load) -> Iterator[Cost]:
    """Reads what it keeps."""
    yield elementwise.through_dram("slice", call.out.tiles, 2 * call.out.dram_us, 2.0 * call.out.dram)


def _scatter(call: _Call, load: Load) -> Iterator[Cost]:
    yield elementwise.scatter(call.out.columns, call.moved)


def _tile_by_tile(call: _Call, passes: int = 1) -> Iterator[Cost]:
    widest = max((*call.inputs, *call.outputs), key=lambda spec: spec.tiles)
    if widest.place == "L1":
        yield replace(elementwise.in_l1(call.name, widest.tiles_per_core, passes, call.l1), dram=call.moved)
    else:
        yield elementwise.through_dram(call.name, widest.tiles, call.dram_us, call.moved, passes)


def _of(us: float) -> _Law:
    """A decode step's operation that takes what it takes."""

    def law(call: _Call, load: Load) -> Iterator[Cost]:
        small = sum(spec.dram for spec in (*call.inputs, *call.outputs) if spec.bytes < 1 << 20)
        yield elementwise.constant(call.name, us, small, call.l1)

    return law


def _nothing(call: _Call, load: Load) -> Iterator[Cost]:
    return iter(())


_BESIDE = ("zeros", "cast")  # what an operation launches beside its own
_MATMULS = ("linear", "matmul", "experimental.minimal_matmul", "sparse_matmul")
_TILE_BY_TILE = (
    *("add", "add_", "subtract", "multiply", "multiply_", "eq", "ne", "where", "typecast", "sum", "pad", "concat"),
    *("transpose", "to_layout", "to_memory_config", "interleaved_to_sharded", "sharded_to_interleaved", "untilize"),
    *("repeat", "clone", "experimental.rotary_embedding_llama", "experimental.nlp_create_qkv_heads"),
    "experimental.nlp_concat_heads",
)
_LAWS: dict[str, _Law] = {
    **dict.fromkeys(_TILE_BY_TILE, _elementwise),
    **dict.fromkeys(("linear", "matmul", "experimental.minimal_matmul"), _matmul),
    **dict.fromkeys(("all_gather", "reduce_scatter"), _collective),
    **dict.fromkeys(("softmax", "scale_mask_softmax"), _softmax),
    "sparse_matmul": _sparse_matmul,
    "transformer.paged_scaled_dot_product_attention_decode": _attention_decode,
    "transformer.scaled_dot_product_attention": _attention_prefill,
    "transformer.chunked_scaled_dot_product_attention": _attention_continued,
    "topk": _topk,
    "rms_norm": _norm,
    "embedding": _embedding,
    "reshape": _reshape,
    "unsqueeze_to_4D": _nothing,
    "slice": _slice,
    "scatter": _scatter,
    "experimental.paged_fill_cache": _fill_cache,
    "experimental.paged_fused_update_cache": _of(elementwise.CACHE_UPDATE_US),
    "experimental.rotary_embedding_llama_fused_qk": _of(elementwise.ROTATION_US),
    "experimental.nlp_create_qkv_heads_decode": _of(elementwise.MAKE_HEADS_US),
    "experimental.nlp_concat_heads_decode": _of(elementwise.JOIN_HEADS_US),
    "sampling": _of(elementwise.SAMPLING_US),
    "manual_seed": _of(elementwise.PLUS_ONE_US),
    "plus_one": _of(elementwise.PLUS_ONE_US),
}
