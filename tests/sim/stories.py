"""Stories on the simulated chips, and beside them on the CPU backend, which needs a process of its own.

.venv/bin/python -m tests.sim.stories N_CHIPS CHECKPOINT PRESET decode|prefill|pass NUMBER once|chips FILE
"""

import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from models.mixtral8x7b.paging import Prompt, blocks_for
from models.mixtral8x7b.reference.model import Transformer
from models.mixtral8x7b.tokenizer import Tokenizer
from tests.sim.own_process import run
from tests.thresholds import BOUNDS, ROUTER_MARGIN
from tests.tiny_texts import USERS, Texts, stories

if TYPE_CHECKING:
    from models.mixtral8x7b.tt.mesh import Mesh
    from models.mixtral8x7b.tt.model import Mixtral
    from tests.teacher_forcing import Agreement

PROMPTS = {
    "prefill": (
        29,
        47,
        100,
        128,
        199,
        300,
    ),  # tokens, up to where every router is decided; the last take several passes
    "pass": (47, 100),
}
PROMPT_CONTEXT = 320


@dataclass(frozen=True)
class Work:
    """What is run: `decode` feeds 32 stories, `number` positions each, token by token. `prefill` takes six prompts in
    passes of `number` tokens and then decodes the token after each; `pass` the same with two prompts."""

    kind: str
    number: int

    def texts(self, repacked: Path) -> Texts:
        """The stories, and the positions whose logits count."""
        if self.kind == "decode":
            return stories(Tokenizer(repacked), self.number)
        lengths = PROMPTS[self.kind]
        rows = stories(Tokenizer(repacked), max(lengths) + 1).rows
        return Texts(
            "prompts",
            [row[: length + 2] for row, length in zip(rows, lengths, strict=False)],
            [length - 1 for length in lengths],
        )

    def logits(self, mesh: "Mesh", repacked: Path, preset: str) -> torch.Tensor:
        """The tiny instruct checkpoint's, where they count, [N, vocab]."""
        from models.mixtral8x7b.checkpoint.repacked import RepackedCheckpoint
        from models.mixtral8x7b.tt.model import Mixtral
        from models.mixtral8x7b.tt.precision import PRESETS
        from models.mixtral8x7b.tt.weight_cache import CheckpointWeights
        from tests.teacher_forcing import teacher_forced

        weights, texts = CheckpointWeights(RepackedCheckpoint(repacked), mesh, None), self.texts(repacked)
        if self.kind == "decode":
            return texts.counted(teacher_forced(Mixtral(weights, mesh, PRESETS[preset], USERS, 64), texts))
        n_blocks = sum(blocks_for(len(row)) for row in texts.rows)
        model = Mixtral(weights, mesh, PRESETS[preset], n_blocks, PROMPT_CONTEXT, self.number)
        return _prefilled(model, texts)


def _prefilled(model: "Mixtral", texts: Texts) -> torch.Tensor:
    """Logits of each prompt's last token and of the one after it, [2 N, vocab]; blocks are dealt out from the end."""
    from models.mixtral8x7b.tt.decode_state import NO_USER

    free = list(range(model.cache.n_blocks))
    prompts = [
        Prompt(row, ids[: first + 1], [free.pop() for _ in range(blocks_for(len(ids)))])
        for row, (ids, first) in enumerate(zip(texts.rows, texts.first, strict=True))
    ]
    unused = USERS - len(prompts)
    last = torch.zeros(USERS, model.config.vocab_size)
    for one in model.passes(prompts):
        rows = [piece.prompt.row for piece in one.pieces if piece.ends_prompt]
        last[rows] = model.read_logits(model.prefill_pass(one))[rows]
    next_ids = [ids[first + 1] for ids, first in zip(texts.rows, texts.first, strict=True)]
    model.state.set_rows([*next_ids, *[0] * unused], [*(len(p.ids) for p in prompts), *[NO_USER] * unused])
    model.state.set_blocks([*(list(p.blocks) for p in prompts), *[[]] * unused])
    after = model.read_logits(model.decode_logits())
    return torch.stack((last, after), 1)[: len(prompts)].flatten(0, 1)


def logits_on_cpu(n_chips: int, repacked: Path, preset: str, work: Work, arithmetic: str, folder: Path) -> torch.Tensor:
    """By the CPU backend, which rounds `once` or computes as `chips` do. `folder` is scratch."""
    file = folder / "logits"
    run(
        [
            "-m",
            "tests.sim.stories",
            str(n_chips),
            str(repacked),
            preset,
            work.kind,
            str(work.number),
            arithmetic,
            str(file),
        ]
    )
    return torch.load(file)


def check_agreement(
    mesh: "Mesh",
    repacked: Path,
    preset: str,
    work: Work,
    folder: Path,
    record_property: Callable[[str, object], None],
) -> "Agreement":
    """The simulated chips with the float32 reference, of which it asks that it is close, and with the CPU backend.
    `folder` is scratch."""
    from tests.teacher_forcing import agreement, router_margins

    ours, texts = work.logits(mesh, repacked, preset), work.texts(repacked)
    reference = Transformer.from_repacked(repacked)
    theirs = texts.counted(reference(texts.padded()))
    everywhere = agreement(ours, theirs)
    record_property("against the reference", everywhere)
    routed_alike = texts.counted(router_margins(reference, texts.padded())) > ROUTER_MARGIN
    found = agreement(ours[routed_alike], theirs[routed_alike])
    record_property("of these, where no router is undecided", found)
    on_cpu = logits_on_cpu(mesh.n_devices, repacked, preset, work, "once", folder)
    record_property("against the CPU backend", agreement(ours, on_cpu))
    assert agreement(ours[routed_alike], on_cpu[routed_alike]).pcc > 0.9995
    bounds = BOUNDS[preset]
    assert found.pcc > bounds.logits_pcc["stories"]
    assert everywhere.pcc > bounds.logits_pcc["stories"]
    assert everywhere.top_1_decided == 1.0
    assert everywhere.top_5 >= bounds.top_5
    return everywhere


if __name__ == "__main__":
    from models.mixtral8x7b.target import use_target

    use_target("cpu")
    import ttnn_cpu
    from models.mixtral8x7b.tt.mesh import open_mesh

    chips, checkpoint, preset_name, kind, number, mode, logits_file = sys.argv[1:]
    with open_mesh(int(chips)) as cpu_mesh, ttnn_cpu.chip_values() if mode == "chips" else nullcontext():
        torch.save(Work(kind, int(number)).logits(cpu_mesh, Path(checkpoint), preset_name), logits_file)
