"""What is recorded: prefill, chunked prefill, a decode step and the greedy draw of a model, on simulated chips."""

from collections.abc import Iterator
from types import ModuleType
from typing import Any

from models.mixtral8x7b.config import MixtralConfig, MoeConfig
from models.mixtral8x7b.paging import Prompt
from models.mixtral8x7b.reference.model import Transformer
from tests.recorded.calls import RecordedCall, recording

ROWS = 32
SHORT, LONG = 45, 200  # tokens of two prompts; the long one goes in two chunks
PASS_TOKENS = 128
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
    """The different calls of each program, in the order in which they were made."""
    from models.mixtral8x7b.sampling import GREEDY
    from models.mixtral8x7b.tt.model import Mixtral
    from models.mixtral8x7b.tt.precision import preset as precision
    from tests.tt.cases import random_ids, weights_of

    tt = Mixtral(weights_of(model, mesh), mesh, precision(preset), 3 + ROWS, CONTEXT, PASS_TOKENS * mesh.n_devices)
    tt.sampler.set([GREEDY] * ROWS)
    tt.sampler.seed([0] * ROWS)
    ids = random_ids(model.config, LONG, seed=5).tolist()
    for name, prompt in (
        (f"prefill of {SHORT}", Prompt(0, ids[:SHORT], BLOCKS[0])),
        (f"prefill of {LONG} in chunks", Prompt(1, ids, BLOCKS[1])),
    ):
        with recording(ttnn, wanted, name) as calls:
            tt.sampler.forward(tt.prefill([prompt]), tt.state.tokens)
        yield from calls
    tt.state.set_rows(ids[:ROWS], [SHORT, LONG] + [0] * (ROWS - 2))
    tt.state.set_blocks(BLOCKS + [[block] for block in range(5, 3 + ROWS)])
    with recording(ttnn, wanted, "decode step") as calls:
        tt.step()
    yield from calls
