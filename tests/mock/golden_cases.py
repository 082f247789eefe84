"""Calls whose values ttnn's own golden functions know: what is called, on which random inputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

import torch


@dataclass(frozen=True)
class Named:
    """A member of an enumeration that both libraries have, such as DataType.BFLOAT16."""

    kind: str
    name: str

    def of(self, library: ModuleType) -> Any:
        return getattr(getattr(library, self.kind), self.name)


BF16, BFP8, F32 = Named("DataType", "BFLOAT16"), Named("DataType", "BFLOAT8_B"), Named("DataType", "FLOAT32")
U32, I32 = Named("DataType", "UINT32"), Named("DataType", "INT32")
TILES, ROWS = Named("Layout", "TILE"), Named("Layout", "ROW_MAJOR")
SILU = Named("UnaryOpType", "SILU")


@dataclass(frozen=True)
class Input:
    """Normally distributed numbers, or with `below` integers from 0 up to it, or from a list of `values`."""

    shape: tuple[int, ...]
    dtype: Named = BF16
    layout: Named = TILES
    below: int | None = None
    values: Any = None
    seen_by_golden: tuple[int, ...] | None = None  # another shape of the same numbers

    def draw(self, generator: torch.Generator) -> torch.Tensor:
        if self.values is not None:
            return torch.tensor(self.values, dtype=torch.int32).reshape(self.shape)
        if self.below is not None:
            return torch.randint(self.below, self.shape, generator=generator, dtype=torch.int32)
        return torch.randn(self.shape, generator=generator)


@dataclass(frozen=True)
class Case:
    operation: str
    inputs: tuple[Input, ...]
    options: Mapping[str, Any] = field(default_factory=dict)  # keywords for both
    arguments: Sequence[Any] = ()  # what follows the inputs, for both


def _same(names: str, *inputs: tuple[Input, ...], **options: Any) -> list[Case]:
    return [Case(name, given, options) for name in names.split() for given in inputs]


def _ids(*shape: int, below: int, dtype: Named = U32) -> Input:
    return Input(shape, dtype, ROWS, below)


_ODD = (2, 3, 5, 7)
_PAIRS = (
    (Input((1, 1, 32, 64)), Input((1, 1, 32, 64))),
    (Input(_ODD), Input(_ODD)),
    (Input((1, 1, 33, 65), BFP8), Input((1, 1, 33, 65))),
    (Input((1, 1, 33, 65)), Input((1, 1, 33, 1))),
    (Input((1, 1, 32, 2), F32), Input((1, 1, 32, 2), F32)),
)
_SOME = ((Input((1, 1, 32, 64)),), (Input(_ODD),), (Input((1, 1, 35, 70), F32),), (Input((3, 1, 1, 33), BFP8),))
_PLAIN = (Input((1, 1, 32, 64)),), (Input(_ODD),)
_INTEGERS = Input((1, 1, 32, 8), U32, TILES, 3), Input((1, 1, 1, 1), U32, TILES, 3)
_CHOICES = Input((1, 1, 32, 2), U32, TILES, 8)
_GAMMA = Input((1, 1, 2, 32), BF16, ROWS, seen_by_golden=(64,))
_POOL, _TABLE = (9, 2, 32, 64), [[8, 1, 4], [0, 3, 2], [5, 6, 7]]
_POSITIONS = [0, 37, 95]

CASES = [
    *_same("add subtract multiply add_ multiply_ eq ne ge lt", *_PAIRS),
    *_same("eq ne", _INTEGERS),
    *_same("multiply", *_PAIRS, input_tensor_a_activations=[SILU]),
    *_same("multiply", *_PAIRS[:2], dtype=BFP8),
    *_same("where", tuple(Input(_ODD) for _ in range(3))),
    *_same("silu clone unsqueeze_to_4D zeros_like", *_SOME),
    *_same("copy", (_CHOICES, replace(_CHOICES, below=3)), _PAIRS[1]),
    *(Case("typecast", given, {}, (to,)) for given in _SOME for to in (BF16, F32, BFP8)),
    Case("typecast", (Input((1, 1, 32, 8), U32, TILES, 40),), {}, (BF16,)),
    *_same("plus_one", (_ids(32, below=90, dtype=I32),), (_ids(1, 64, below=90),)),
    Case("plus_one", (Input((5,), I32, ROWS, values=[-1, 0, 7, -1, 3]),), {"skip_negative_entries": True}),
    *_same("embedding", (_ids(1, 37, below=50), Input((50, 96), BF16, ROWS))),
    *_same("embedding", (_ids(2, 5, below=7), Input((7, 33), BF16, ROWS)), layout=ROWS),
    *_same("linear matmul", (Input((1, 1, 32, 64)), Input((1, 1, 64, 96), BFP8))),
    *_same("linear matmul", (Input((1, 1, 33, 65), F32), Input((1, 1, 65, 7), F32))),
    *_same("linear matmul", (Input((2, 3, 5, 40)), Input((40, 9)))),
    *_same("linear", (Input((1, 1, 37, 64)), Input((1, 1, 64, 33))), activation="silu"),
    *_same("linear", (Input((1, 1, 37, 64)), Input((1, 1, 64, 33))), bias=Input((1, 1, 1, 33))),
    *_same("rms_norm", *_SOME, epsilon=1e-5),
    *_same("rms_norm", (Input((1, 1, 33, 64)),), epsilon=1e-5, weight=_GAMMA),
    *_same("softmax", *_SOME, (Input((1, 1, 32, 2), F32),), dim=-1),
    *_same("scale_mask_softmax", (Input((1, 1, 33, 32), F32),), scale=2.0, mask=Input((1, 1, 1, 32))),
    Case("scale_mask_softmax", (Input((1, 1, 32, 64)),), {"mask": Input((1, 1, 1, 64), values=[0, -(1 << 30)] * 32)}),
    *_same("sum", *_SOME, (Input((1, 1, 32, 2)),), dim=-1, keepdim=True),
    *(
        Case("topk", (Input((1, 1, 33, width), F32),), {"dim": -1, "stable": True}, (k,))
        for width, k in ((64, 2), (70, 8), (300, 32))
    ),
    *_same("argmax", (Input((1, 1, 32, 65), F32, ROWS),), (Input((1, 1, 3, 999), BF16, ROWS),), dim=3, keepdim=False),
    *(Case("reshape", given, {}, ([1, 1, 30, 7],)) for given in ((Input(_ODD),), (Input(_ODD, BF16, ROWS),))),
    *(Case("permute", given, {}, ((2, 0, 3, 1),)) for given in _PLAIN),
    *(Case("transpose", given, {}, dims) for given in _PLAIN for dims in ((1, 2), (-2, -1), (0, 3))),
    *(
        Case("slice", (Input((2, 3, 37, 70)),), {}, places)
        for places in (([0, 0, 0, 0], [1, 3, 32, 64]), ([1, 0, 5, 33], [2, 2, 37, 70]))
    ),
    Case("pad", (Input((1, 1, 32, 40)),), {"value": float("-inf")}, ([(0, 0), (0, 0), (0, 0), (0, 24)],)),
    *_same("untilize", *_PLAIN),
    *(Case("to_layout", given, {}, (layout,)) for given in _PLAIN for layout in (ROWS, TILES)),
    *_same(
        "transformer.scaled_dot_product_attention",
        (Input((2, 4, 70, 64)), Input((2, 2, 70, 64)), Input((2, 2, 70, 64))),
        (Input((1, 4, 1, 32), BFP8), Input((1, 1, 1, 32), BFP8), Input((1, 1, 1, 32), BFP8)),
        is_causal=True,
    ),
    Case(
        "transformer.chunked_scaled_dot_product_attention",
        (Input((1, 4, 32, 64)), Input(_POOL, BFP8), Input(_POOL, BFP8), Input((1, 3), I32, ROWS, values=[8, 1, 4])),
        {"chunk_start_idx": 64},
    ),
    Case(
        "transformer.paged_scaled_dot_product_attention_decode",
        (Input((1, 3, 4, 64)), Input(_POOL, BFP8), Input(_POOL, BFP8), Input((3, 3), I32, ROWS, values=_TABLE)),
        {"cur_pos_tensor": Input((3,), I32, ROWS, values=_POSITIONS)},
    ),
]  # fmt: skip

# operation -> whether it starts from a sharded tensor
MOVES = {"interleaved_to_sharded": False, "sharded_to_interleaved": True, "to_memory_config": True}
COLLECTIVES = ("all_gather", "reduce_scatter", "all_reduce")
