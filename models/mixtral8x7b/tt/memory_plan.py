"""What will stand in each chip's DRAM, computed before anything is allocated.

A Wormhole chip has 12 DRAM banks and ttnn puts the same number of bytes into each of them: a tensor's pages (tiles, or
rows of a row-major tensor) go round the banks, a weight is split over them by columns. So everything here is bytes per
bank, with the roundings that this brings; they are those of ttnn's allocator, to the byte for what is resident.
"""

from dataclasses import dataclass

import ttnn

from models.mixtral8x7b.config import ConfigError, MixtralConfig
from models.mixtral8x7b.packing import LARGEST_PASS, MOST_PIECES, SMALLEST_PASS
from models.mixtral8x7b.paging import KV_BLOCK, blocks_for
from models.mixtral8x7b.sizes import size_text
from models.mixtral8x7b.tt.decode_state import table_width
from models.mixtral8x7b.tt.layouts import (
    DECODE_ROWS,
    TILE,
    TILE_BYTES,
    even_columns,
    tiles,
    vocabulary_columns,
    vocabulary_pieces,
)
from models.mixtral8x7b.tt.mesh import TRACE_REGION_BYTES
from models.mixtral8x7b.tt.precision import Precision
from models.mixtral8x7b.tt.prefill import ROUTED_FROM, continued_table_width
from models.mixtral8x7b.tt.rms_norm import WIDEST_IN_ROWS
from models.mixtral8x7b.tt.router import padded_experts

BANKS = 12
BANK_BYTES = 1 << 30
KEPT_BY_TTNN = 1_051_328  # of each bank, as ttnn 0.81.1's allocator reports on a Wormhole
DRAM_ALIGNMENT = 64  # bytes: pages start at multiples of it
CONTEXTS = (4096, 8192, 16384, 32768)  # for which the table says how many users fit, and the model's longest


def tiled(rows: int, columns: int, dtype: ttnn.DataType) -> int:
    """A tensor in tiles that go round the banks."""
    return -(-(tiles(rows) * tiles(columns)) // BANKS) * TILE_BYTES[dtype]


def row_major(rows: int, row_bytes: int) -> int:
    """A row-major tensor whose rows go round the banks."""
    return -(-rows // BANKS) * (-(-row_bytes // DRAM_ALIGNMENT) * DRAM_ALIGNMENT)


def over_banks(rows: int, columns: int, dtype: ttnn.DataType) -> int:
    """A weight whose columns are split over the banks (layouts.over_dram_banks)."""
    return tiles(rows) * tiles(-(-columns // BANKS)) * TILE_BYTES[dtype]


@dataclass(frozen=True)
class MemoryPlan:
    """The DRAM of one chip. Sizes are bytes per bank; what people read is per chip."""

    config: MixtralConfig
    precision: Precision
    n_devices: int
    max_context: int
    pass_tokens: int  # padded tokens of the largest prefill pass
    n_tokens: int | None = None  # ids that may be drawn; None: all of the vocabulary
    notes_experts: bool = False  # whether a decode step can note the experts that were chosen

    @property
    def usable(self) -> int:
        trace = -(-TRACE_REGION_BYTES // BANKS // DRAM_ALIGNMENT) * DRAM_ALIGNMENT
        return BANK_BYTES - KEPT_BY_TTNN - trace

    def weights(self) -> dict[str, int]:
        """By kind, all layers together."""
        c, p, n = self.config, self.precision, self.n_devices
        heads, kv_heads = c.n_heads // n * c.head_dim, c.n_kv_heads // n * c.head_dim
        slots, experts = c.moe.num_experts // n, padded_experts(c.moe.num_experts)
        hidden, (pieces, columns) = even_columns(c.hidden_dim), vocabulary_pieces(c.vocab_size, n)
        gate, up = (over_banks(c.dim, hidden, matrix.dtype) for matrix in (p.w1, p.w3))
        down = over_banks(hidden, c.dim, p.w2.dtype)
        bf16 = ttnn.bfloat16
        router = (
            tiled(c.dim, experts, bf16) + tiled(1, experts, bf16) + tiled(1, 1, bf16) + slots * tiled(1, 1, ttnn.uint32)
        )
        norm = row_major(c.dim // TILE, 2 * TILE) if c.dim <= WIDEST_IN_ROWS else tiled(1, c.dim, bf16)
        return {
            "experts": c.n_layers * slots * (gate + up + down),
            "attention": c.n_layers
            * (
                over_banks(c.dim, heads + 2 * kv_heads, p.attention.dtype) + over_banks(heads, c.dim, p.attention.dtype)
            ),
            "router": c.n_layers * router,
            "norms": (2 * c.n_layers + 1) * norm,
            "embedding": row_major(n * pieces * columns, 2 * c.dim),
            "LM head": pieces * over_banks(c.dim, columns, p.lm_head.dtype),
            "rotary tables": 2 * row_major(c.max_seq_len, 2 * c.head_dim) + tiled(TILE, TILE, bf16),
        }

    def decode_state(self) -> int:
        """Tokens, positions, page table, sampling parameters, and the noted experts if any, of the 32 rows."""
        vectors = 6 * row_major(1, 4 * DECODE_ROWS) + 2 * row_major(1, 2 * DECODE_ROWS) + row_major(1, 8 * DECODE_ROWS)
        page_table = row_major(DECODE_ROWS, 4 * table_width(self.max_context))
        columns = vocabulary_columns(self.config.vocab_size, self.n_devices)
        n_tokens = self.config.vocab_size if self.n_tokens is None else self.n_tokens
        has_barrier = n_tokens < self.n_devices * columns  # of the sampler, before columns that are no token
        barrier = has_barrier * tiled(DECODE_ROWS, columns, ttnn.bfloat16)
        choices = self.notes_experts * self.config.n_layers * tiled(DECODE_ROWS, TILE, ttnn.uint32)
        return vectors + page_table + tiled(1, 1, ttnn.int32) + barrier + choices

    def activations(self) -> int:
        """At the peak of a prefill pass, which is in the experts or in attention.

        Counted with them are the holes that the allocator leaves below them: two of the residual's size, where it stood
        before and after attention, and those of the router's results.
        """
        c, rows, bf16 = self.config, self.pass_tokens, ttnn.bfloat16
        rotation = 2 * tiled(rows, c.head_dim, bf16)
        inputs = tiled(DECODE_ROWS, rows // self.n_devices, bf16) + row_major(1, 4 * rows // self.n_devices)
        inputs += row_major(1, 4 * rows)  # the hole where the positions stood
        of_blocks, of_prompt = (
            row_major(1, 4 * rows // KV_BLOCK),
            row_major(1, 4 * continued_table_width(self.max_context)),
        )
        tables = row_major(1, 4 * (MOST_PIECES + 1)) + of_blocks
        tables += MOST_PIECES * (of_prompt + of_blocks + 3 * row_major(1, 16))  # if every piece went on from the cache
        residual = 3 * tiled(rows // self.n_devices, c.dim, bf16)
        routing = (2 + c.moe.num_experts // self.n_devices) * tiled(rows, 1, bf16) + 2 * tiled(rows, 1, ttnn.uint32)
        return rotation + inputs + tables + residual + routing + max(self._experts_at_work(), self._attention_at_work())

    def _experts_at_work(self) -> int:
        """The rows that all experts read, the sum of a chip's earlier ones, and the most of one expert's own."""
        c, rows, rounded = self.config, self.pass_tokens, self.precision.expert_activations
        hidden, out = tiled(rows, even_columns(c.hidden_dim), rounded), tiled(rows, c.dim, ttnn.bfloat16)
        slots, blocks = c.moe.num_experts // self.n_devices, tiled(rows, c.dim, rounded)
        if rows < ROUTED_FROM:
            return blocks + (slots > 1) * out + max(2 * hidden, hidden + out, 2 * out)
        table = row_major(rows, 2 * c.dim)
        gate = tiled(rows, even_columns(c.hidden_dim), ttnn.bfloat16)
        lists = (2 * slots + 8) * row_major(1, 4 * rows) + 4 * tiled(4 * TILE, 4 * TILE, ttnn.bfloat16)
        earlier = (slots > 1) * (2 * out + table)  # with the hole that the first expert's output leaves
        return lists + earlier + max(blocks + max(gate + hidden, table), hidden + out, table + out)

    def _attention_at_work(self) -> int:
        """While heads are split, while they attend, or while wo joins them."""
        c, p, rows, bf16 = self.config, self.precision, self.pass_tokens, ttnn.bfloat16
        queries, keys = (n // self.n_devices * c.head_dim for n in (c.n_heads, c.n_kv_heads))
        split = tiled(rows, queries + 2 * keys, bf16) + max(
            tiled(rows, c.dim, p.attention.dtype), tiled(rows, queries + 2 * keys, bf16)
        )
        attending = 3 * tiled(rows, queries, bf16) + 2 * tiled(rows, keys, p.kv_cache)
        return max(split, attending, tiled(rows, queries, p.attention.dtype) + tiled(rows, c.dim, bf16))

    def kv(self, n_blocks: int) -> int:
        """Keys and values of n_blocks blocks, all layers: 2 n_layers pools. To write zeros into them takes no more:
        max(2, 2 n_layers) pools at once (`kv_cache`)."""
        c = self.config
        pool_rows = n_blocks * (c.n_kv_heads // self.n_devices) * KV_BLOCK
        return 2 * c.n_layers * tiled(pool_rows, c.head_dim, self.precision.kv_cache)

    @property
    def room_for_kv(self) -> int:
        return self.usable - sum(self.weights().values()) - self.decode_state() - self.activations()

    @property
    def max_blocks(self) -> int:
        """Blocks that fit beside everything else, shared by all users."""
        low, high = 0, max(0, self.room_for_kv) // self.kv(BANKS) * BANKS + BANKS  # kv(high) does not fit
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.kv(middle) <= self.room_for_kv else (low, middle)
        return low

    @property
    def kv_tokens(self) -> int:
        return self.max_blocks * KV_BLOCK

    def check(self, n_blocks: int) -> None:
        """Raises ConfigError, with the shortage and what would fit, if n_blocks do not fit."""
        if self.room_for_kv < self.kv(1):
            raise ConfigError(
                f"the weights and prefill's activations leave no room for a KV cache: they are "
                f"{_of_chip(self.kv(1) - self.room_for_kv, 10**7)} too many for {_chips(self.n_devices)}; "
                "use more chips, or several machines: `mixtral plan --stages` says how many"
            )
        short = self.kv(n_blocks) - self.room_for_kv
        if short > 0:
            tokens, users = n_blocks * KV_BLOCK, -(-n_blocks // blocks_for(self.max_context))
            fewer, shorter = self.users_at(self.max_context), self.max_blocks // users * KV_BLOCK
            fitting = [f"at most {fewer} users of {self.max_context} tokens"] * (fewer > 0)
            fitting += [f"{shorter} tokens for {users} users"] * (shorter > 0 and users > 1)
            raise ConfigError(
                f"{tokens:,} tokens of KV cache are {_of_chip(short, 10**7)} too many for a chip, "
                f"{self.kv_tokens:,} fit: use {', or '.join(fitting) or f'{self.kv_tokens} tokens for one user'}"
            )

    def users_at(self, context: int) -> int:
        """Users of this context that fit together; more than 32 of them decode in groups."""
        return self.max_blocks // blocks_for(context)

    def table(self, n_blocks: int) -> str:
        """Every part, in bytes of a chip, then the users that fit at each context that the model has."""
        parts = [(f"weights: {name}", size) for name, size in self.weights().items()]
        parts += [
            (f"KV cache of {n_blocks * KV_BLOCK:,} tokens", self.kv(n_blocks)),
            ("decode state", self.decode_state()),
            (f"activations of {self.pass_tokens:,} tokens in prefill, at peak", self.activations()),
            ("trace region and ttnn's own", BANK_BYTES - self.usable),
        ]
        parts.append(("free", BANK_BYTES - sum(size for _, size in parts)))
        width = max(len(name) for name, _ in parts)
        parts.append(("one chip", BANK_BYTES))
        lines = [f"{name:{width}}  {_of_chip(size):>10}" for name, size in parts]
        users = ", ".join(f"{_context(context)} {self.users_at(context)}" for context in self.contexts())
        room = f"room for {self.kv_tokens:,} tokens of KV cache: users at {users}"
        return "\n".join([*lines, room if self.max_blocks else "no room for a KV cache"])

    def contexts(self) -> list[int]:
        """Of CONTEXTS those that the model has, and its longest."""
        longest = min(self.config.max_seq_len, self.config.sliding_window or self.config.max_seq_len)
        return [context for context in CONTEXTS if context < longest] + [longest]


def _of_chip(bytes_per_bank: int, least_gb: int = 10**8) -> str:
    """In GB from least_gb bytes on: what is too much or too little is compared with a chip's 12.9 GB."""
    size = abs(bytes_per_bank) * BANKS
    text = f"{size / 1e9:.3f} GB" if size >= least_gb else size_text(size)
    return text if bytes_per_bank >= 0 else f"-{text}"


def _chips(n_devices: int) -> str:
    return f"each of {n_devices} chips" if n_devices > 1 else "one chip"


def _context(n_tokens: int) -> str:
    return f"{n_tokens} tokens" if n_tokens % 1024 else f"{n_tokens // 1024}k"


def plan(
    config: MixtralConfig,
    precision: Precision,
    n_devices: int,
    n_blocks: int,
    max_context: int,
    max_pass_tokens: int = LARGEST_PASS,
    n_tokens: int | None = None,
    notes_experts: bool = False,
) -> MemoryPlan:
    """The plan of a model with n_blocks KV blocks; as many of one prompt or more make its largest prefill pass."""
    pass_tokens = min(max_pass_tokens, max(SMALLEST_PASS, 1 << (n_blocks * KV_BLOCK - 1).bit_length()))
    return MemoryPlan(config, precision, n_devices, max_context, pass_tokens, n_tokens, notes_experts)
