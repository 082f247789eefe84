"""The tiny model in two processes, which between them answer as one does."""

import os
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from models.mixtral8x7b.checkpoint.repacked import RepackedCheckpoint
from models.mixtral8x7b.checkpoint.tiny import tiny_checkpoint
from models.mixtral8x7b.engine.engine import Engine
from models.mixtral8x7b.engine.model import Sizes
from models.mixtral8x7b.engine.request import Request
from models.mixtral8x7b.engine.stream import EngineError
from models.mixtral8x7b.pipeline.engine import Pipelined
from models.mixtral8x7b.pipeline.opened import StageOptions, open_stage
from models.mixtral8x7b.pipeline.stage_error import StageError
from models.mixtral8x7b.pipeline.stage_process import StageProcess

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
    assert pipelined.failure is None

    assert [ids(stream) for stream in [pipelined.submit(request) for request in requests()]] == expected
    stats = pipelined.stats()
    assert stats.finished == {"length": 10, "lost": 5}, "of the engines that are gone too"
    assert stats.prompt_tokens == 3 * sum(len(request.ids) for request in requests())
    assert stats.n_free_blocks + stats.n_cached_blocks == 2 * N_BLOCKS


def test_a_stage_says_what_went_wrong(stages: list[StageProcess]) -> None:
    with pytest.raises(StageError, match=r"stage 2 of 2 \(layer 2\) failed and was ended \(IndexError: .*: ask again$"):
        stages[1].call("set_rows", 7, [None] * 32)
    assert not stages[1].is_alive, "nobody knows what state it was in"
    stages[1].start()
    stages[1].call("set_rows", 1, [None] * 32)
    for stage in stages:
        stage.close()
        assert not stage.is_alive


def test_a_stage_that_hangs_is_ended() -> None:
    stage = StageProcess("stage 1 of 1", counting, answers_within_s=2)
    assert [stage.call("__next__"), stage.call("__next__")] == [0, 1]
    assert stage.pid is not None
    os.kill(stage.pid, signal.SIGSTOP)
    with pytest.raises(StageError, match=r"^stage 1 of 1 has not answered within 2 s and was ended, .*: ask again$"):
        stage.call("__next__")
    assert not stage.is_alive
    stage.start()
    assert stage.call("__next__") == 0
    stage.close()


@contextmanager
def counting() -> Iterator[Iterator[int]]:
    yield count()


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


class OpensOnce:
    """A stage that cannot be started again."""

    is_alive, is_fork_refused = True, False

    def call(self, method: str, *arguments: Any) -> Any:
        if not self.is_alive:
            raise StageError("stage 1 of 1 cannot be opened: there is no board; put it back")
        return Sizes(N_BLOCKS, CONTEXT, 1000, 256)

    def start(self) -> None:
        if self.is_fork_refused:
            raise BlockingIOError("no process can be started")

    def close(self) -> None: ...


def test_a_stage_that_cannot_be_started_again_is_the_end() -> None:
    stage = OpensOnce()
    with Pipelined([stage], 1) as pipelined:
        stage.is_alive = False
        assert pipelined.failure is None
        with pytest.raises(EngineError, match=r"stage 1 of 1 cannot be opened: there is no board; put it back$"):
            ids(pipelined.submit(requests(1)[0]))
        assert (
            pipelined.failure == "the engine has stopped: stage 1 of 1 cannot be opened: there is no board; put it back"
        )
        with pytest.raises(EngineError, match="no board"):
            pipelined.submit(requests(1)[0])
    stage.is_alive, stage.is_fork_refused = True, True
    with Pipelined([stage], 1) as pipelined:
        stage.is_alive = False
        with pytest.raises(EngineError, match="no process can be started"):
            ids(pipelined.submit(requests(1)[0]))
        assert pipelined.failure == "the engine has stopped: start the program again (no process can be started)"
