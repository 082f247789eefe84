"""How far `chip_values` is from exact arithmetic and from rounding once: the whole tiny checkpoint, and single matmuls
at full inner size. docs/chip_values.md holds what it prints.

.venv/bin/python -m tests.chip_table     # 3 minutes
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

import ttnn_cpu
from models.mixtral8x7b.target import T3000_CHIPS, use_target

if __name__ == "__main__":
    use_target("cpu")

from models.mixtral8x7b.checkpoint.tiny import tiny_checkpoint
from models.mixtral8x7b.reference.model import Transformer
from models.mixtral8x7b.tt.mesh import open_mesh
from models.mixtral8x7b.tt.precision import PRESETS
from tests.full_width import KINDS, PRODUCTS, numbers, stored
from tests.sim.stories import Work
from tests.teacher_forcing import Agreement, agreement, perplexity
from ttnn_cpu.chip_matmul import matrix_unit, product
from ttnn_cpu.chip_rounding import packed

STORIES = Work("decode", 8)  # 32 of them, 8 positions each
COLUMNS = 64
# tiles of the inner size: of decode as `tt.layouts.decode_matmul` takes them, of prefill minimal_matmul's own
BLOCKS = {
    ("w1, w3 in decode", ttnn_cpu.bfloat8_b): 4,
    ("w1, w3 in decode", ttnn_cpu.bfloat4_b): 8,
    **{("w1, w3 in prefill", dtype): 8 for dtype in (ttnn_cpu.bfloat8_b, ttnn_cpu.bfloat4_b)},
    **{("w2", dtype): 7 for dtype in (ttnn_cpu.bfloat8_b, ttnn_cpu.bfloat4_b)},
}


@dataclass(frozen=True)
class Run:
    agreement: Agreement
    perplexity: float
    seconds: float
    logits: torch.Tensor


def run(repacked: Path, preset: str, n_chips: int, as_chips: bool, work: Work = STORIES) -> Run:
    """Against the float32 reference."""
    texts = work.texts(repacked)
    theirs = texts.counted(Transformer.from_repacked(repacked)(texts.padded()))
    start = time.perf_counter()
    with open_mesh(n_chips) as mesh, ttnn_cpu.chip_values() if as_chips else nullcontext():
        logits = work.logits(mesh, repacked, preset)
    seconds = time.perf_counter() - start
    return Run(agreement(logits, theirs), perplexity(logits, texts.next_ids()), seconds, logits)


def whole(repacked: Path) -> Iterator[str]:
    yield "| preset | chips | arithmetic | PCC | top-1, all (decided) | top-5 | KL | perplexity | seconds |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for preset in PRESETS:
        for n_chips in (1, T3000_CHIPS):
            for as_chips in (False, True):
                found = run(repacked, preset, n_chips, as_chips)
                a = found.agreement
                yield (
                    f"| `{preset}` | {n_chips} | {'`chip_values`' if as_chips else 'rounded once'} | {a.pcc:.5f} | "
                    f"{a.top_1:.4f} ({a.top_1_decided:.4f}) | {a.top_5:.4f} | {a.kl:.5f} | {found.perplexity:.4f} | "
                    f"{found.seconds:.1f} |"
                )


def columns() -> Iterator[str]:
    """Root mean square error and mean shrinking, of the numbers as they are stored."""
    yield "| matmul | numbers | preset | rounded once | `chip_values` | seconds |"
    yield "|---|---|---|---|---|---|"
    for name, shape in PRODUCTS.items():
        for kind, spread in KINDS.items():
            x, w = numbers(spread, shape.inner, shape.is_gated, COLUMNS)
            for preset in ("performance", "accuracy", "bfp4"):
                matrix = shape.matrix(PRESETS[preset])
                rows, weight = stored(x, shape.rows), stored(w, matrix.dtype)
                exact = rows.double() @ weight.double()
                unit = matrix_unit("linear", matrix.kernel, BLOCKS[name, matrix.dtype], "prefill" in name)
                start = time.perf_counter()
                made = product(rows[None], weight[None], unit)[0]
                seconds = time.perf_counter() - start
                errors = (_error(values, exact) for values in (exact.float(), made))
                yield f"| {name} | {kind} | `{preset}` | {' | '.join(errors)} | {seconds:.2f} |"


def _error(values: torch.Tensor, exact: torch.Tensor) -> str:
    difference = packed(values, ttnn_cpu.bfloat16).double() - exact
    shrink = (difference * exact).sum() / exact.square().sum()
    return f"{difference.norm() / exact.norm():.3%}, {shrink:+.3%}"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for line in whole(tiny_checkpoint("instruct", Path(folder))):
            print(line, flush=True)
    print()
    for line in columns():
        print(line, flush=True)


if __name__ == "__main__":
    main()
