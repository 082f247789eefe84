"""What is recorded of a model on simulated chips: a pass of prefill, with a fresh prompt and one that goes on from the
cache, each expert on all rows and on its own; a decode step; the greedy draws."""

from collections.abc import Iterator
from types import ModuleType
from typing import Any
from unittest.mock import patch

from models.mixtral8x7b.config import MixtralConfig, MoeConfig
from models.mixtral8x7b.paging import Prompt
from models.mixtral8x7b.reference.model import Transformer
from ttnn_cpu.witness.calls import RecordedCall, recording

ROWS = 32
SHORT, LONG, START = 45, 250, 128  # tokens of two prompts, and of the long one's beginning, in the cache already
PASS_TOKENS = 256
CONTEXT = 256
BLOCKS = [[4], [1, 0, 3, 2]]  # of the two users; the other rows decode their first token, each in a block of its own

# One chip's share of Mixtral's attention on a T3000 (4 query heads over 1 KV head), all else small: kept in files.
SMALL = MixtralConfig(
    dim=128,
    n_layers=1,
    head_dim=32,
    hidden_dim=96,
    n_heads=4,
    n_kv_heads=1,
    norm_eps=1e-5,
    vocab_size=160,
    moe=MoeConfig(4, 2),
    max_seq_len=CONTEXT,
)


def record_model(
    ttnn: ModuleType, mesh: Any, model: Transformer, preset: str, wanted: frozenset[str] = frozenset()
) -> Iterator[RecordedCall]:
    """The different calls of prefill, and of the decode step, in the order in which they were made."""
    from models.mixtral8x7b.sampling import GREEDY
    from models.mixtral8x7b.tt import prefill
    from models.mixtral8x7b.tt.model import Mixtral
    from models.mixtral8x7b.tt.precision import preset as precision
    from tests.tt.cases import random_ids, weights_of

    tt = Mixtral(weights_of(model, mesh), mesh, precision(preset), 3 + ROWS, CONTEXT, PASS_TOKENS)
    tt.sampler.set([GREEDY] * ROWS)
    ids = random_ids(model.config, LONG, seed=5).tolist()
    tt.prefill([Prompt(1, ids[:START], BLOCKS[1])])
    together = [Prompt(0, ids[:SHORT], BLOCKS[0]), Prompt(1, ids, BLOCKS[1], START)]
    seen: set[str] = set()
    for name, routed_from in (("prefill", prefill.ROUTED_FROM), ("prefill, own rows", PASS_TOKENS)):
        with recording(ttnn, wanted, name, seen) as calls, patch.object(prefill, "ROUTED_FROM", routed_from):
            tt.sampler.forward(tt.prefill(together), tt.state.tokens)
        yield from calls
    tt.state.set_rows(ids[:ROWS], [SHORT, LONG] + [0] * (ROWS - 2))
    tt.state.set_blocks(BLOCKS + [[block] for block in range(5, 3 + ROWS)])
    with recording(ttnn, wanted, "decode step", set()) as calls:
        tt.step()
    yield from calls
