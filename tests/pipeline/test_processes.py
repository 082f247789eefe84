"""The tiny model in two processes, which between them answer as one does."""

import os
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from models.mixtral8x7b.checkpoint.repacked import RepackedCheckpoint
from models.mixtral8x7b.checkpoint.tiny import tiny_checkpoint
from models.mixtral8x7b.engine.engine import Engine
from models.mixtral8x7b.engine.request import Request
from models.mixtral8x7b.engine.stream import EngineError
from models.mixtral8x7b.pipeline.engine import Pipelined
from models.mixtral8x7b.pipeline.opened import StageOptions, open_stage
from models.mixtral8x7b.pipeline.stage_process import StageError, StageProcess

CHIPS, CONTEXT, N_BLOCKS = 2, 256, 16


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint("instruct", tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def stages(checkpoint: Path) -> list[StageProcess]:
    """Layers 0 and 1, and layer 2."""
    sizes = {"n_groups": 2, "n_blocks": N_BLOCKS, "max_context": CONTEXT, "chips": CHIPS}
    return [
        StageProcess(name, partial(open_stage, StageOptions(checkpoint, None, "cpu", first, end, **sizes)))
        for name, first, end in (("stage 1 of 2 (layers 0 to 1)", 0, 2), ("stage 2 of 2 (layer 2)", 2, 3))
    ]


@pytest.fixture
def pipelined(stages: list[StageProcess]) -> Iterator[Pipelined]:
    with Pipelined(stages, 2) as open_:
        yield open_


def requests(n: int = 5, n_new: int = 12) -> list[Request]:
    return [Request([3 + (7 * at + number) % 900 for at in range(9 + 31 * number)], n_new) for number in range(n)]


def ids(stream) -> list[int]:
    return [token.id for token in stream]


def of_one_process(checkpoint: Path) -> list[list[int]]:
    from models.mixtral8x7b.tt.engine_model import EngineModel
    from models.mixtral8x7b.tt.mesh import open_mesh
    from models.mixtral8x7b.tt.model import Mixtral
    from models.mixtral8x7b.tt.precision import PERFORMANCE
    from models.mixtral8x7b.tt.weight_cache import CheckpointWeights

    with open_mesh(CHIPS) as mesh:
        weights = CheckpointWeights(RepackedCheckpoint(checkpoint), mesh, None)
        model = Mixtral(weights, mesh, PERFORMANCE, 2 * N_BLOCKS, CONTEXT, 256)
        with Engine(EngineModel(model, trace=True, warm=False, at_once=True)) as engine:
            streams = [engine.submit(request) for request in requests()]
            return [ids(stream) for stream in streams]


def test_two_processes_answer_as_one_and_start_again_when_killed(
    pipelined: Pipelined, stages: list[StageProcess], checkpoint: Path
) -> None:
    expected = of_one_process(checkpoint)
    assert [ids(stream) for stream in [pipelined.submit(request) for request in requests()]] == expected

    streams = [pipelined.submit(request) for request in requests(n_new=100)]
    for stream in streams:
        next(iter(stream))  # all are under way, in both groups
    assert stages[1].pid is not None
    os.kill(stages[1].pid, signal.SIGKILL)
    for stream in streams:
        with pytest.raises(EngineError, match=r"stage 2 of 2 \(layer 2\) has ended \(signal 9\).*: ask again"):
            ids(stream)

    assert [ids(stream) for stream in [pipelined.submit(request) for request in requests()]] == expected


def test_a_stage_says_what_went_wrong(stages: list[StageProcess]) -> None:
    with pytest.raises(StageError, match=r"stage 2 of 2 \(layer 2\) failed, .*\(IndexError"):
        stages[1].call("set_rows", 7, [None] * 32)
    stages[1].call("set_rows", 1, [None] * 32)  # and goes on
    for stage in stages:
        stage.close()
        assert not stage.is_alive


def test_a_stage_that_cannot_be_opened_says_why_and_all_are_closed(stages: list[StageProcess], tmp_path: Path) -> None:
    options = StageOptions(tmp_path / "none", None, "cpu", 2, 3, 2, N_BLOCKS, CONTEXT, CHIPS)
    stages = [stages[0], StageProcess("stage 2 of 2 (layer 2)", partial(open_stage, options))]
    with pytest.raises(StageError, match=r"^stage 2 of 2 \(layer 2\) cannot be opened: .*none"):
        Pipelined(stages, 2)
    assert not any(stage.is_alive for stage in stages)


def never() -> AbstractContextManager[Any]:
    raise RuntimeError("no such board")


def test_a_fault_of_opening_is_one_sentence_too() -> None:
    stage = StageProcess("stage 1 of 1", never)
    with pytest.raises(StageError, match=r"cannot be opened, start the program again \(RuntimeError: no such board\)$"):
        stage.call("sizes")
    with pytest.raises(StageError, match=r"^stage 1 of 1 has ended"):
        stage.call("sizes")
    stage.close()
