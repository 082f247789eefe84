"""Prefill against the reference, rounding off: any lengths together, in one pass or in chunks, then decode steps."""

from collections.abc import Sequence
from functools import cache

import torch

from models.mixtral8x7b.config import MixtralConfig
from models.mixtral8x7b.packing import LARGEST_PASS
from models.mixtral8x7b.paging import KV_BLOCK, Prompt, blocks_for
from models.mixtral8x7b.sampling import GREEDY
from models.mixtral8x7b.tt.decode_state import NO_USER
from models.mixtral8x7b.tt.mesh import Mesh
from models.mixtral8x7b.tt.model import Mixtral
from models.mixtral8x7b.tt.precision import PERFORMANCE
from tests.tt.cases import assert_equal, exact_mesh, random_ids, reference, sliceable_config, weights_of

LENGTHS = (1, 7, 31, 32, 33, 127, 128, 129, 255, 257, 1030)
PASSES = {"one pass": LARGEST_PASS, "chunks of 256": 256}
STEPS = 2  # of decode after each prefill


def build(
    mesh: Mesh, n_users: int = 1, max_context: int = 2048, config: MixtralConfig | None = None, **options: int
) -> Mixtral:
    weights = weights_of(reference(config or sliceable_config()), mesh)
    model = Mixtral(weights, mesh, PERFORMANCE, n_users * blocks_for(max_context), max_context, **options)
    model.sampler.set([GREEDY] * 32)
    return model


def scattered_blocks(n_users: int, max_context: int) -> list[list[int]]:
    """Every user's blocks, taken from all over the pool."""
    per_user = blocks_for(max_context)
    order = torch.randperm(n_users * per_user, generator=torch.Generator().manual_seed(7)).tolist()
    return [order[user * per_user : (user + 1) * per_user] for user in range(n_users)]


@cache
def expected_logits(n_users: int, n_tokens: int) -> torch.Tensor:
    """The reference's logits at every position of random_ids, [n_users, n_tokens, vocab_size], in parts for memory."""
    ids = random_ids(sliceable_config(), n_users, n_tokens)
    return torch.cat([reference(sliceable_config())(part) for part in ids.split(4)])


def check_prefills(n_devices: int, max_pass_tokens: int, batches: Sequence[Sequence[int]]) -> None:
    """One prefill after the other, each followed by decode steps; a batch gives the length of every user's prompt.

    All batches have as many users. A user's texts are beginnings of one text, as causality allows: the reference runs
    once. Users stand in rows, and have blocks, from all over the place.
    """
    n_users, n_tokens = len(batches[0]), max(map(max, batches)) + STEPS
    everyone = torch.arange(n_users)
    ids, expected = random_ids(sliceable_config(), n_users, n_tokens), expected_logits(n_users, n_tokens)
    context = KV_BLOCK * blocks_for(n_tokens)
    rows = [(31 - 7 * user) % 32 for user in range(n_users)]
    blocks = scattered_blocks(n_users, context)
    with exact_mesh(n_devices) as mesh:
        model = build(mesh, n_users, context, max_pass_tokens=max_pass_tokens)
        by_row: list[list[int]] = [[]] * 32
        for user, row in enumerate(rows):
            by_row[row] = blocks[user]
        model.state.set_blocks(by_row)
        for lengths in batches:
            prompts = [Prompt(rows[user], ids[user, : lengths[user]].tolist(), blocks[user]) for user in range(n_users)]
            logits = torch.full((32, sliceable_config().vocab_size), torch.nan)
            for one in model.passes(prompts):
                ended = [piece.prompt.row for piece in one.pieces if piece.ends_prompt]
                logits[ended] = model.read_logits(model.prefill_pass(one))[ended]
            assert_equal(logits[rows], expected[everyone, torch.tensor(lengths) - 1])
            for step in range(STEPS):
                at = torch.tensor(lengths) + step
                tokens, positions = torch.zeros(32, dtype=torch.int64), torch.full((32,), NO_USER)
                tokens[rows], positions[rows] = ids[everyone, at], at
                model.state.set_rows(tokens.tolist(), positions.tolist())
                assert_equal(model.read_logits(model.decode_logits())[rows], expected[everyone, at])
