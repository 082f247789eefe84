"""Four stages in four processes equal the model in one, with rounding off: ids, and the logits they are drawn from."""

from functools import partial

from models.mixtral8x7b.engine.model import Sizes
from models.mixtral8x7b.pipeline.group import Group
from models.mixtral8x7b.pipeline.stage_process import StageProcess
from tests.long.exact_stage import exact_stage
from tests.tt.cases import assert_equal, exact_mesh
from tests.tt.test_stage import CHIPS, CONTEXT, LAYERS, N_BLOCKS, answers, config, whole


def test_four_processes_equal_the_whole() -> None:
    stages = [StageProcess(f"stage {n + 1} of 4", partial(exact_stage, range(n, n + 1))) for n in range(LAYERS)]
    sizes = Sizes(N_BLOCKS, CONTEXT, config().vocab_size, 256)
    try:
        staged = answers([Group(number, stages, sizes) for number in range(2)])
    finally:
        for stage in stages:
            stage.close()
    with exact_mesh(CHIPS) as mesh:
        for seed, (ids, logits) in enumerate(staged):
            ((whole_ids, whole_logits),) = answers([whole(mesh)], seed)
            assert ids == whole_ids
            for ours, theirs in zip(logits, whole_logits, strict=True):
                assert_equal(ours, theirs)
