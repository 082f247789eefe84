"""Reduce-scatter and all-gather over N chips, by the bytes T of the whole tensor.

For 8 chips the published table: ccl.reduce_scatter.*, ccl.all_gather.* of ttnn's tech_reports/CCLs @3a4ad18f,
2026-09-28, T3000, one link, traced, bf16. Elsewhere the laws that stand beside it, us with T in kB.
"""

from itertools import pairwise
from math import exp, log

from models.mixtral8x7b.cost.operation import Cost

_KB = 1024
# kB -> us, 8 chips
TABLES: dict[tuple[str, str], dict[int, float]] = {
    ("reduce_scatter", "ring"): {
        16: 19.61, 32: 21.24, 64: 24.7, 128: 32.97, 256: 49.75, 512: 102.82, 1024: 80.92, 2048: 134.76, 4096: 239.75,
        8192: 441.14, 16384: 882.38, 32768: 1781.4, 65536: 3573.0, 131072: 7038.8, 262144: 14137.0,
    },
    ("all_gather", "ring"): {
        16: 17.61, 32: 19.2, 64: 20.36, 128: 24.08, 256: 31.51, 512: 44.73, 1024: 69.56, 2048: 110.08, 4096: 199.16,
        8192: 374.56, 16384: 727.02, 32768: 1432.4, 65536: 2843.2, 131072: 5665.9, 262144: 11310.0,
    },
    ("reduce_scatter", "line"): {
        16: 30.41, 64: 37.89, 128: 45.6, 256: 61.19, 512: 71.3, 1024: 121.22, 4096: 372.76, 16384: 1391.6,
        65536: 5355.7, 131072: 10623.8,
    },
    ("all_gather", "line"): {
        16: 19.84, 64: 24.98, 128: 29.46, 256: 39.72, 512: 59.46, 1024: 101.28, 4096: 331.93, 16384: 1268.3,
        65536: 5015.4, 131072: 10008.7,
    },
}  # fmt: skip
_LATENCY = {
    ("reduce_scatter", "ring"): lambda n: 3.23 + 3.06 * n / 2,
    ("all_gather", "ring"): lambda n: 4.47 + 2.50 * n / 2,
    ("reduce_scatter", "line"): lambda n: 3.23 + 3.97 * (n - 1),
    ("all_gather", "line"): lambda n: 4.47 + 1.91 * (n - 1),
}
_GB_S = {
    ("reduce_scatter", "ring"): 16.7,
    ("all_gather", "ring"): 20.8,
    ("reduce_scatter", "line"): 11.1,
    ("all_gather", "line"): 11.8,
}
OLDER_REDUCE_SCATTER = 1.45  # rows from before 2026-04, when it got faster (ccl.rs.2026-04.*)


def collective(kind: str, whole: float, n_chips: int, fabric: str, older: bool = False, links: int = 1) -> Cost:
    """`reduce_scatter` or `all_gather` of a tensor that has `whole` bytes when it is whole; fabric: ring or line.

    A ring sends both ways round, a line's middle link carries nearly all in one direction.
    """
    law = (kind, fabric)
    us = _table_us(law, whole / links) if n_chips == 8 else _law_us(law, whole / links, n_chips)
    if older and kind == "reduce_scatter":
        us *= OLDER_REDUCE_SCATTER
    fixed = min(us, _LATENCY[law](n_chips))
    sent = (n_chips - 1) / n_chips * whole / (2 if fabric == "ring" else 1)
    return Cost(kind, fixed, {"links": us - fixed}, link=sent / links)


def _law_us(law: tuple[str, str], whole: float, n_chips: int) -> float:
    return _LATENCY[law](n_chips) + (n_chips - 1) / n_chips * whole / 1e3 / _GB_S[law]


def _table_us(law: tuple[str, str], whole: float) -> float:
    """Straight lines in log-log; outside the table the law."""
    table = TABLES[law]
    sizes = [size * _KB for size in table]
    if not sizes[0] <= whole <= sizes[-1]:
        return _law_us(law, whole, 8)
    for (below, low), (above, high) in pairwise(zip(sizes, table.values(), strict=True)):
        if whole <= above:
            share = log(whole / below) / log(above / below)
            return exp(log(low) + share * (log(high) - log(low)))
    raise AssertionError("sizes rise")
