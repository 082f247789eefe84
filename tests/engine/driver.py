"""Runs the engine's loop turn by turn, on the stub model and a clock that only the model moves."""

from collections.abc import Callable
from typing import Any

from models.mixtral8x7b.engine.job import Job
from models.mixtral8x7b.engine.loop import Loop
from models.mixtral8x7b.engine.request import Request
from models.mixtral8x7b.engine.stream import Finish, Stream, Token
from tests.engine.stub_model import StubModel

STEP_S, PASS_S, ROW_S = 1.0, 0.5, 1 / 512  # seconds on the clock: of a step, of a pass and of each of its rows


def pass_seconds(rows: int) -> float:
    return PASS_S + rows * ROW_S


class Driver:
    """`on_call` hears of every pass ("pass", rows) and step ("step", rows that decode) before it happens."""

    def __init__(
        self,
        n_blocks: int,
        pass_tokens: int = 2048,
        prefix_cache: bool = False,
        largest_pass: int = 16384,
        on_call: Callable[[str, int], None] = lambda what, rows: None,
        model_type: type[StubModel] = StubModel,
    ) -> None:
        self.now = 0.0
        self.calls: list[tuple[str, int]] = []

        def before(what: str, rows: int) -> None:
            self.now += pass_seconds(rows) if what == "pass" else STEP_S
            self.calls.append((what, rows))
            on_call(what, rows)

        self.model = model_type(n_blocks, largest_pass, before)
        self.loop = Loop(self.model, min(pass_tokens, largest_pass), prefix_cache, lambda: self.now)
        self.jobs: list[Job] = []
        self._got: dict[Job, list[Token | Finish]] = {}

    def add(self, request: Request) -> Job:
        model = self.model
        request.check(model.vocab_size, model.max_context, model.n_blocks, model.experts is not None)
        stream = Recorder()
        job = Job(request, stream, self.now)
        self._got[job] = stream.got
        self.jobs.append(job)
        self.loop.add(job)
        return job

    def run(self, most_turns: int = 100_000) -> None:
        """Until nobody is there."""
        for _ in range(most_turns):
            if not self.loop.turn():
                return
        raise AssertionError("never idle")

    def tokens(self, job: Job) -> list[int]:
        return [one.id for one in self._got[job] if isinstance(one, Token)]

    def drawn(self, job: Job) -> list[Any]:
        return [one.drawn for one in self._got[job] if isinstance(one, Token)]

    def experts(self, job: Job) -> list[Any]:
        return [one.experts for one in self._got[job] if isinstance(one, Token)]

    def finish(self, job: Job) -> Finish:
        """The last that the reader got, and the only one of its kind."""
        *tokens, finish = self._got[job]
        assert isinstance(finish, Finish)
        assert not any(isinstance(one, Finish) for one in tokens)
        assert finish.n_new == len(tokens)
        return finish

    def check_idle(self) -> None:
        stats = self.loop.stats()
        assert stats.n_waiting == stats.n_prefilling == stats.n_decoding == stats.n_held_blocks == 0
        assert stats.n_free_blocks + stats.n_cached_blocks == self.model.n_blocks
        assert sum(stats.finished.values()) == len(self.jobs)


class Recorder(Stream):
    """Keeps what the engine gives, for as long as it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[Token | Finish] = []

    def put(self, one: Token | Finish) -> None:
        self.got.append(one)
