"""The same logits from the CPU backend, which needs a process of its own.

.venv/bin/python -m tests.sim.on_cpu N_CHIPS PRESET N_POSITIONS FILE
"""

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from models.mixtral8x7b.tt.mesh import Mesh

REPOSITORY = Path(__file__).resolve().parents[2]


def stories_logits(mesh: "Mesh", preset: str, n_positions: int) -> torch.Tensor:
    """The tiny instruct checkpoint's logits of 32 stories, decoded token by token, [32 * n_positions, vocab]."""
    from models.mixtral8x7b.checkpoint.repacked import RepackedCheckpoint
    from models.mixtral8x7b.checkpoint.tiny import tiny_checkpoint
    from models.mixtral8x7b.settings import Settings
    from models.mixtral8x7b.tokenizer import Tokenizer
    from models.mixtral8x7b.tt.model import Mixtral
    from models.mixtral8x7b.tt.precision import PRESETS
    from models.mixtral8x7b.tt.weight_cache import CheckpointWeights
    from tests.teacher_forcing import teacher_forced
    from tests.tiny_texts import stories

    repacked = tiny_checkpoint("instruct", Settings.from_environment().user_cache)
    weights = CheckpointWeights(RepackedCheckpoint(repacked), mesh, None)
    texts = stories(Tokenizer(repacked), n_positions)
    return texts.counted(teacher_forced(Mixtral(weights, mesh, PRESETS[preset], 32, 64), texts))


def cpu_stories_logits(n_chips: int, preset: str, n_positions: int, file: Path) -> torch.Tensor:
    """What stories_logits gives on the CPU backend; `file` is written for it."""
    command = [sys.executable, "-m", "tests.sim.on_cpu", str(n_chips), preset, str(n_positions), str(file)]
    subprocess.run(command, cwd=REPOSITORY, check=True)
    return torch.load(file)


if __name__ == "__main__":
    from models.mixtral8x7b.target import use_target

    use_target("cpu")
    from models.mixtral8x7b.tt.mesh import open_mesh

    with open_mesh(int(sys.argv[1])) as cpu_mesh:
        torch.save(stories_logits(cpu_mesh, sys.argv[2], int(sys.argv[3])), sys.argv[4])
