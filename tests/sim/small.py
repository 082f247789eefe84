"""Whole runs of a small model on the simulated chips, and what the CPU backend's reference says to them."""

from dataclasses import replace

import torch

from models.mixtral8x7b.config import MixtralConfig
from models.mixtral8x7b.paging import Prompt, blocks_for
from models.mixtral8x7b.tt.decode_state import NO_USER
from models.mixtral8x7b.tt.mesh import Mesh
from models.mixtral8x7b.tt.model import Mixtral
from models.mixtral8x7b.tt.precision import preset
from tests.recorded.program import SMALL
from tests.tt.cases import random_ids, reference, weights_of

ROWS = 32
CONFIG: MixtralConfig = replace(SMALL, max_seq_len=320)


def model_of(
    mesh: Mesh, n_blocks: int, context: int, precision: str = "performance", pass_tokens: int = 256
) -> Mixtral:
    return Mixtral(weights_of(reference(CONFIG), mesh), mesh, preset(precision), n_blocks, context, pass_tokens)


def prompts_of(lengths: list[int], first_block: int = 0) -> list[Prompt]:
    """Random prompts, their blocks dealt out from the last to the first."""
    ids = random_ids(CONFIG, len(lengths), max(lengths), seed=11).tolist()
    free = list(range(first_block, first_block + sum(blocks_for(length + 8) for length in lengths)))
    return [
        Prompt(row, ids[row][:length], [free.pop() for _ in range(blocks_for(length + 8))])
        for row, length in enumerate(lengths)
    ]


def decode(model: Mixtral, positions: list[int], blocks: list[list[int]], tokens: list[int]) -> torch.Tensor:
    """Logits of one more token of each user, [users, vocab_size]; the other rows have no user."""
    unused = ROWS - len(tokens)
    model.state.set_rows([*tokens, *[0] * unused], [*positions, *[NO_USER] * unused])
    model.state.set_blocks([*blocks, *[[]] * unused])
    return model.read_logits(model.decode_logits())[: len(tokens)]


def prefill(model: Mixtral, prompts: list[Prompt]) -> torch.Tensor:
    """Logits of each prompt's last token, [users, vocab_size]."""
    rows = torch.zeros(ROWS, CONFIG.vocab_size)
    for one in model.passes(prompts):
        logits = model.read_logits(model.prefill_pass(one))
        for piece in one.pieces:
            rows[piece.prompt.row] = logits[piece.prompt.row]
    return rows[: len(prompts)]
