"""The recorder's text of a tensor, read back: `[1, 1, 32, 4096] BFLOAT16 TILE L1/WIDTH_SHARDED[32, 128]@{..}/..`."""

import re
from dataclasses import dataclass
from math import prod

from models.mixtral8x7b.cost.chip import BANKS, CORES, PAGE_GB_S, TILE_BYTES, VALUE_BYTES, tiles

_SPEC = re.compile(
    r"\[(?P<shape>[\d, ]*)\](?: pad\[(?P<padded>[\d, ]*)\])? (?P<dtype>\w+) (?P<layout>\w+) (?P<place>HOST|DRAM|L1)"
    r"(?:/(?P<memory>\w+)(?:\[(?P<shard>[\d, ]+)\]@)?)?"
)


@dataclass(frozen=True)
class Spec:
    shape: tuple[int, ...]  # with the padding of tiles
    logical: tuple[int, ...]
    dtype: str
    is_tiled: bool
    place: str  # HOST, DRAM or L1
    shard: tuple[int, int] | None

    @property
    def rows(self) -> int:
        return prod(self.shape[:-1])

    @property
    def columns(self) -> int:
        return self.shape[-1]

    @property
    def tiles(self) -> int:
        return -(-prod(self.shape) // 1024)

    @property
    def bytes(self) -> int:
        """As it is stored: whole tiles, and whole tiles in each bank of a weight that is split over them."""
        if not self.is_tiled:
            return prod(self.shape) * VALUE_BYTES[self.dtype]
        if self.place == "DRAM" and self.shard is not None:
            return tiles(self.shard[0]) * tiles(self.shard[1]) * BANKS * TILE_BYTES[self.dtype]
        return self.tiles * TILE_BYTES[self.dtype]

    @property
    def dram(self) -> int:
        return self.bytes if self.place == "DRAM" else 0

    @property
    def l1(self) -> int:
        return self.bytes if self.place == "L1" else 0

    @property
    def dram_us(self) -> float:
        """At the rate of pages."""
        return self.dram / 1e3 / PAGE_GB_S[self.dtype]

    @property
    def tiles_per_core(self) -> int:
        """On the fullest core: a shard's, or an even share of all cores."""
        if self.shard is not None:
            return tiles(self.shard[0]) * tiles(self.shard[1])
        return -(-self.tiles // CORES)

    def text(self) -> str:
        return f"{'x'.join(map(str, self.logical))} {_SHORT.get(self.dtype, self.dtype.lower())}"


_SHORT = {"BFLOAT16": "bf16", "BFLOAT8_B": "bfp8", "BFLOAT4_B": "bfp4", "FLOAT32": "fp32"}


def spec_of(text: str) -> Spec | None:
    """None for a text that is no tensor."""
    found = _SPEC.match(text)
    if found is None:
        return None
    logical = _numbers(found["shape"])
    shard = _numbers(found["shard"]) if found["shard"] else None
    return Spec(
        shape=_numbers(found["padded"]) if found["padded"] else logical,
        logical=logical,
        dtype=found["dtype"],
        is_tiled=found["layout"] == "TILE",
        place=found["place"],
        shard=(shard[0], shard[1]) if shard else None,
    )


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(",") if number.strip())
