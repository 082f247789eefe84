"""What ttnn's own allocation tracker says to passes between the replays of one trace: on the mock in fast dispatch.

.venv/bin/python -m tests.mock.live_trace      # prints {"what ran": "" or what the tracker said} as JSON

The mock cannot record an operation, so the trace is empty, and nothing is replayed: the tracker, which ttnn switches on
by a variable when it is imported, is asked as it would be before a replay. The programs there are are counted.
"""

import json
import os
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import virtual_t3000
from models.mixtral8x7b.packing import Pass, Piece
from models.mixtral8x7b.paging import Prompt
from models.mixtral8x7b.settings import Settings
from tests.mock.program import TINY, Section, build, set_rows
from tests.prompt_mixes import random_prompts

USERS, CONTEXT = 2, 20000  # passes of every size; prompts that take two of them
NEVER_WARMED = 768  # rows of a pass; packing makes none of this size
WARM_UP, MIXES, DECODE, KEPT, FREED = "warm-up", "mixes", "decode, host writes", "a kept tensor", "the same, freed"
UNWARMED = "a pass of another size"


def main() -> None:
    os.environ.update(virtual_t3000.prepare_mock(Settings.from_environment().user_cache, fast_dispatch=True))
    os.environ.update(TT_METAL_TRACE_ALLOC_TRACKING="1", LOGURU_LEVEL="ERROR")
    import ttnn

    from models.mixtral8x7b.tt.mesh import open_mesh

    with open_mesh(8) as mesh:
        section = Section(replace(TINY, n_layers=1), "performance", USERS, CONTEXT, ())
        model = build(section, mesh, notes_experts=True)
        print(json.dumps(verdicts(ttnn, mesh, model, section)))


def verdicts(ttnn: Any, mesh: Any, model: Any, section: Section) -> dict[str, tuple[int, str]]:
    """By what ran: how many programs there are after it, and what the tracker says to a replay."""
    from ttnn.tools.trace_allocation_tracker import TraceAllocationTracker

    from models.mixtral8x7b.tt.warm_up import warm_up

    device, found = mesh.device, {}
    warm_up(model)
    trace = ttnn.begin_trace_capture(device, cq_id=0)
    ttnn.end_trace_capture(device, trace, cq_id=0)

    def after(what: str, run: Callable[[], object]) -> None:
        run()
        try:
            TraceAllocationTracker.verify_before_replay(device, trace)
            said = ""
        except RuntimeError as error:
            said = str(error).splitlines()[0]
        found[what] = (device.num_program_cache_entries(), said)

    def mixes() -> None:
        generator = random.Random(0)
        for longest in (300, 1500, CONTEXT, CONTEXT):
            for one in model.passes(random_prompts(generator, section.n_blocks, longest)):
                take = (lambda *_: None) if generator.random() < 0.2 and one.size < 4096 else None
                model.sample(model.prefill_pass(one, take))
                TraceAllocationTracker.verify_before_replay(device, trace)

    def decode() -> None:
        set_rows(model, section, USERS)
        model.step()
        model.step(model.choices)
        model.state.read_tokens()
        model.choices.read()

    after(WARM_UP, lambda: None)
    after(MIXES, mixes)
    after(DECODE, decode)
    kept = []
    after(KEPT, lambda: kept.append(ttnn.empty([1, 1, 32, 64], ttnn.bfloat16, ttnn.TILE_LAYOUT, device)))
    after(FREED, lambda: ttnn.deallocate(kept.pop()))
    unwarmed = Pass(NEVER_WARMED, (Piece(Prompt(0, [1] * 300, range(5)), 0, 300, 0),))
    after(UNWARMED, lambda: model.sample(model.prefill_pass(unwarmed)))
    return found


if __name__ == "__main__":
    main()
