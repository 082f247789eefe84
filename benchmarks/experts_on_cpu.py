"""What it costs on the CPU backend to tell which experts draw each token: whole steps, and what the host does in one.

.venv/bin/python -m benchmarks.experts_on_cpu

It says nothing about a chip's copies, nor about how long 32 small reads take from a chip.
"""

import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from statistics import median

from models.mixtral8x7b.target import use_target

use_target("cpu")

from models.mixtral8x7b.checkpoint.repacked import RepackedCheckpoint  # noqa: E402
from models.mixtral8x7b.checkpoint.tiny import tiny_checkpoint  # noqa: E402
from models.mixtral8x7b.config import MIXTRAL_8X7B  # noqa: E402
from models.mixtral8x7b.engine.model import ROWS, Row  # noqa: E402
from models.mixtral8x7b.sampling import GREEDY  # noqa: E402
from models.mixtral8x7b.tt.engine_model import EngineModel  # noqa: E402
from models.mixtral8x7b.tt.expert_choices import ExpertChoices  # noqa: E402
from models.mixtral8x7b.tt.mesh import Mesh, open_mesh  # noqa: E402
from models.mixtral8x7b.tt.model import Mixtral  # noqa: E402
from models.mixtral8x7b.tt.precision import PERFORMANCE  # noqa: E402
from models.mixtral8x7b.tt.weight_cache import CheckpointWeights  # noqa: E402

STEPS, ROUNDS = 20, 3  # alternating, so that what else the machine does meets all alike


def main() -> None:
    print(f"{date.today()}, {os.cpu_count()} x {platform.machine()}, Python {platform.python_version()}, cpu target\n")
    with tempfile.TemporaryDirectory() as folder, open_mesh(8) as mesh:
        weights = CheckpointWeights(RepackedCheckpoint(tiny_checkpoint("instruct", Path(folder))), mesh, None)
        model = Mixtral(weights, mesh, PERFORMANCE, 2 * ROWS, 128, notes_experts=True)
        whole_steps(EngineModel(model, trace=True, warm=False))
        reads(mesh)


def whole_steps(model: EngineModel) -> None:
    """Of 32 rows, of which some ask."""
    assert model.experts is not None
    taken: dict[int, list[float]] = {0: [], 1: [], ROWS: []}
    for _ in range(ROUNDS):
        for n_asking, seconds in taken.items():
            rows = [Row(GREEDY, 0, 5, 10, [2 * row, 2 * row + 1], False, row < n_asking) for row in range(ROWS)]
            model.set_rows(rows)
            for _ in range(2):  # built, recorded
                model.step()
            for _ in range(STEPS):
                start = time.perf_counter()
                model.step()
                model.read_tokens()
                if n_asking:
                    model.read_experts(range(n_asking))
                seconds.append(time.perf_counter() - start)
    print(f"| rows of 32 that ask, {model.experts.layers} layers, 8 chips | ms of a step, median |\n|---|---|")
    for n_asking, seconds in taken.items():
        print(f"| {n_asking} | {1e3 * median(seconds):.2f} |")


def reads(mesh: Mesh) -> None:
    choices = ExpertChoices(MIXTRAL_8X7B, mesh)
    chosen = choices.read()
    layers = chosen[:, 0].tolist()
    print("\n| the host's part, Mixtral 8x7B's sizes | ms, median |\n|---|---|")
    print(f"| {MIXTRAL_8X7B.n_layers} reads, in each step in which somebody asks | {_ms(choices.read):.3f} |")
    print(f"| lists, for each row that asks | {_ms(lambda: chosen[:, 0].tolist()):.3f} |")
    told = json.dumps(layers, separators=(",", ":"))
    print(f"| JSON of {len(told)} bytes, for each token | {_ms(lambda: json.dumps(layers)):.3f} |")


def _ms(call: Callable[[], object]) -> float:
    taken = []
    for _ in range(200):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return 1e3 * median(taken)


if __name__ == "__main__":
    main()
