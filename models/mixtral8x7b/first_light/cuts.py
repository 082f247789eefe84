"""A prompt prefilled in one pass, and cut in two other ways (simulated: in one): the same logits, and so of the step
after it."""

import torch

from models.mixtral8x7b.first_light.asked import Asked
from models.mixtral8x7b.first_light.checks import Checks
from models.mixtral8x7b.first_light.notes import Notes
from models.mixtral8x7b.first_light.opened import opened
from models.mixtral8x7b.first_light.random_models import random_ids
from models.mixtral8x7b.first_light.tiny import checkpoint
from models.mixtral8x7b.paging import Prompt, blocks_for
from models.mixtral8x7b.tt.decode_state import NO_USER
from models.mixtral8x7b.tt.layouts import DECODE_ROWS
from models.mixtral8x7b.tt.model import Mixtral
from models.mixtral8x7b.tt.precision import preset
from models.mixtral8x7b.tt.weight_cache import CheckpointWeights

TOKENS, FEWER, SIMULATED = 2500, 700, 300  # of the prompt on chips, elsewhere, simulated; the last piece is never full
PASSES = {TOKENS: (4096, 1024, 512), FEWER: (1024, 512, 256), SIMULATED: (512, 256)}  # rows: all in one, then the cuts
LEAST_PCC = 0.998


def run(asked: Asked, notes: Notes) -> None:
    length = TOKENS if asked.full_size else SIMULATED if asked.is_simulated else FEWER
    repacked, checks = checkpoint(), Checks(asked.target != "mock")
    precision = preset(asked.precision, asked.machine)
    ids = random_ids(repacked.config, length, seed=7).tolist()
    blocks = list(range(blocks_for(length + 1)))[::-1]
    found: dict[int, torch.Tensor] = {}
    with opened(asked, notes) as mesh:
        weights = CheckpointWeights(repacked, mesh, None)
        for rows in PASSES[length]:
            notes.doing(f"a prompt of {length} tokens in passes of {rows} rows", "attention")
            model = Mixtral(weights, mesh, precision, len(blocks), length + 1, rows)
            first = model.read_logits(model.prefill([Prompt(0, ids, blocks)]))[0]
            unused = DECODE_ROWS - 1
            model.state.set_rows([ids[0]] + [0] * unused, [length] + [NO_USER] * unused)
            model.state.set_blocks([blocks] + [[]] * unused)
            found[rows] = torch.stack((first, model.read_logits(model.decode_logits())[0]))
            del model
    whole, *cuts = PASSES[length]
    for rows in cuts:
        for when, ours, theirs in zip(("last token", "token after it"), found[rows], found[whole], strict=True):
            what = f"{length} tokens in passes of {rows} rows beside one of {whole}, {when}"
            checks.close(ours, theirs, LEAST_PCC, what, "attention")
    notes.far(f"{length} tokens in passes of {' and '.join(map(str, cuts))}: PCC {checks.worst_pcc:.6f}")
