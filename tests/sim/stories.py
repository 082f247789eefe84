"""32 stories on the simulated chips, and beside them on the CPU backend, which needs a process of its own.

.venv/bin/python -m tests.sim.stories N_CHIPS CHECKPOINT PRESET N_POSITIONS FILE
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from models.mixtral8x7b.reference.model import Transformer
from tests.sim.own_process import run
from tests.thresholds import ROUTER_MARGIN

if TYPE_CHECKING:
    from models.mixtral8x7b.tt.mesh import Mesh
    from tests.teacher_forcing import Agreement


def stories_agreement(
    mesh: "Mesh",
    repacked: Path,
    preset: str,
    n_positions: int,
    folder: Path,
    record_property: Callable[[str, object], None],
) -> "Agreement":
    """Of 32 stories on the simulated chips with the float32 reference, and beside it with the CPU backend; asks that
    the first is good. `folder` is scratch."""
    from models.mixtral8x7b.tokenizer import Tokenizer
    from tests.teacher_forcing import agreement, router_margins
    from tests.tiny_texts import stories

    ours = stories_logits(mesh, repacked, preset, n_positions)
    texts, reference = stories(Tokenizer(repacked), n_positions), Transformer.from_repacked(repacked)
    theirs = texts.counted(reference(texts.padded()))
    everywhere = agreement(ours, theirs)
    record_property("against the reference", everywhere)
    routed_alike = texts.counted(router_margins(reference, texts.padded())) > ROUTER_MARGIN
    found = agreement(ours[routed_alike], theirs[routed_alike])
    record_property("of these, where no router is undecided", found)
    file = folder / "logits"
    run(["-m", "tests.sim.stories", str(mesh.n_devices), str(repacked), preset, str(n_positions), str(file)])
    record_property("against the CPU backend", agreement(ours, torch.load(file)))
    assert found.pcc > 0.9995
    assert everywhere.pcc > 0.999
    assert everywhere.top_1_decided == everywhere.top_5 == 1.0
    return everywhere


def stories_logits(mesh: "Mesh", repacked: Path, preset: str, n_positions: int) -> torch.Tensor:
    """The tiny instruct checkpoint's logits of 32 stories, decoded token by token, [32 * n_positions, vocab]."""
    from models.mixtral8x7b.checkpoint.repacked import RepackedCheckpoint
    from models.mixtral8x7b.tokenizer import Tokenizer
    from models.mixtral8x7b.tt.model import Mixtral
    from models.mixtral8x7b.tt.precision import PRESETS
    from models.mixtral8x7b.tt.weight_cache import CheckpointWeights
    from tests.teacher_forcing import teacher_forced
    from tests.tiny_texts import stories

    weights = CheckpointWeights(RepackedCheckpoint(repacked), mesh, None)
    texts = stories(Tokenizer(repacked), n_positions)
    return texts.counted(teacher_forced(Mixtral(weights, mesh, PRESETS[preset], 32, 64), texts))


if __name__ == "__main__":
    from models.mixtral8x7b.target import use_target

    use_target("cpu")
    from models.mixtral8x7b.tt.mesh import open_mesh

    chips, checkpoint, preset_name, positions, logits_file = sys.argv[1:]
    with open_mesh(int(chips)) as cpu_mesh:
        torch.save(stories_logits(cpu_mesh, Path(checkpoint), preset_name, int(positions)), logits_file)
