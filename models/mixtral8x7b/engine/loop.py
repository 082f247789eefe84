"""The engine's loop: requests in, one pass or one step after the other, tokens out. One thread, no waiting.

    arrivals -> waiting -> row + blocks -> passes: its prompt, in pieces -> steps -> finish
                   ^------- blocks given back to an older one: preempted -----'

A step's tokens are read, added to their requests and looked at for an end at once: that is some microseconds. What is
slower, handing them to the readers and keeping the caches' books, is done while the chips work on the next step.
"""

import heapq
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from models.mixtral8x7b.engine.job import Job
from models.mixtral8x7b.engine.model import ROWS, Choices, Model, Row, TakeLogits
from models.mixtral8x7b.engine.places import Places
from models.mixtral8x7b.engine.request import Request
from models.mixtral8x7b.engine.scheduler import Move, Prefilling, by_turn, next_move
from models.mixtral8x7b.engine.stats import Stats
from models.mixtral8x7b.engine.stream import CANCELLED, DEADLINE, ERROR, LENGTH, LOST, STOP, Finish, Stream, Token
from models.mixtral8x7b.engine.watchdog import unwatched
from models.mixtral8x7b.mistake import Mistake
from models.mixtral8x7b.packing import Pass, next_pass
from models.mixtral8x7b.paging import KV_BLOCK, blocks_for

SOME_TIME = 1e-9  # seconds: a pass has taken more than none, whatever the clock says


class Loop:
    """Owns the model. `pass_tokens` limits a pass while somebody decodes. `watch` surrounds every call of the model."""

    def __init__(
        self,
        model: Model,
        pass_tokens: int,
        prefix_cache: bool,
        clock: Callable[[], float] = time.monotonic,
        watch: Callable[[str], AbstractContextManager[None]] = unwatched,
    ) -> None:
        self._model, self._pass_tokens, self._clock, self._watch = model, pass_tokens, clock, watch
        self._stats = Stats()
        self._places = Places(model.n_blocks, prefix_cache, self._stats)
        self._deadlines: list[tuple[float, int, Job]] = []  # a heap
        self._arrivals = 0
        self._undelivered: list[tuple[Stream, Token | Finish]] = []
        self._owed_s, self._steps_since_pass = 0.0, 0
        self._replaced: dict[int, int] = {}  # tokens that were drawn on the host, by row

    # ---------------------------------------------------------------- what comes in

    def add(self, job: Job) -> None:
        """The request's `check` must have passed."""
        job.number = self._arrivals
        self._arrivals += 1
        self._places.add(job)
        if job.request.deadline_s is not None:
            if len(self._deadlines) > 2 * (
                len(self._places.waiting) + ROWS
            ):  # most of them are of requests that are over
                self._deadlines = [one for one in self._deadlines if not one[2].over]
                heapq.heapify(self._deadlines)
            heapq.heappush(self._deadlines, (job.submitted + job.request.deadline_s, job.number, job))

    def cancel(self, job: Job) -> None:
        if not job.over:
            self._end(job, CANCELLED)

    def turn(self) -> bool:
        """One pass or one step, and what there is to do before it; False if nobody is there to do it for."""
        self._end_late()
        self._places.admit(self._clock())
        decodes = any(job and job.decodes for job in self._places.rows)
        rows = (
            sum(blocks_for(len(job.prompt.ids) - job.done) for job in self._places.rows if job and job.prompt)
            * KV_BLOCK
        )
        move = next_move(rows, len(self._places.waiting), decodes, self._owed_s, self._steps_since_pass)
        if move is Move.PASS:
            self._pass(stalls=decodes)
        elif move is Move.STEP:
            self._step()
        else:
            self.deliver()
            if self._places.waiting:
                raise RuntimeError(f"{len(self._places.waiting)} requests wait and none has a row")
        return move is not Move.WAIT

    @property
    def n_waiting(self) -> int:
        return len(self._places.waiting)

    def stats(self) -> Stats:
        """Of this moment; the loop's own object."""
        stats, jobs = self._stats, [job for job in self._places.rows if job]
        stats.n_waiting, stats.n_decoding = self.n_waiting, sum(job.decodes for job in jobs)
        stats.n_prefilling = len(jobs) - stats.n_decoding
        blocks = self._places.blocks
        stats.n_free_blocks, stats.n_cached_blocks, stats.n_held_blocks = blocks.n_free, blocks.n_cached, blocks.n_held
        return stats

    def _end_late(self) -> None:
        while self._deadlines and self._deadlines[0][0] <= self._clock():
            job = heapq.heappop(self._deadlines)[2]
            if not job.over:
                self._end(job, DEADLINE)

    # ---------------------------------------------------------------- passes and steps

    def _pass(self, stalls: bool) -> None:
        """stalls: somebody decodes, who waits for it."""
        jobs = [(job, job.prompt) for job in self._places.rows if job and job.prompt]
        turns = by_turn([Prefilling(len(prompt.ids) - job.done, job.passes) for job, prompt in jobs])
        order = [jobs[turn][0] for turn in turns]
        left = [(jobs[turn][1], jobs[turn][0].done) for turn in turns]
        of = next_pass(left, self._pass_tokens if stalls else self._model.largest_pass)
        for job in order:
            job.passes += 1
        order[0].passes = 0
        self._tell_rows()
        self.deliver()
        start = self._clock()
        with self._watch(f"a prefill pass of {of.size} rows"):
            tokens = self._model.prefill(of, self._takers(of))
            ending = [self._in_row(piece.prompt.row) for piece in of.pieces if piece.ends_prompt]
            logits = self._logits(ending)
        for piece in of.pieces:
            job = self._in_row(piece.prompt.row)
            job.done = piece.end
            self._places.keep(job, piece.start)
        for job in ending:
            job.prompt, job.decodes = None, True
            self._go_on(job, tokens, logits, {})
        self._places.changed, self._replaced = True, {}
        self._places.look_again()  # who waited for what this pass has computed may come
        taken_s = max(self._clock() - start, SOME_TIME)
        self._owed_s, self._steps_since_pass = self._owed_s + taken_s if stalls else 0.0, 0
        self._stats.passes += 1
        self._stats.pass_rows += of.size
        n_tokens = sum(piece.end - piece.start for piece in of.pieces)
        self._stats.prefilled_tokens += n_tokens
        self._stats.count_turn(n_tokens)
        self._stats.pass_s += taken_s

    def _step(self) -> None:
        self._places.grow()
        jobs = [job for job in self._places.rows if job and job.decodes]
        if not jobs:
            return
        if self._places.changed:
            self._tell_rows()
        elif self._replaced:
            self._model.write_tokens(self._replaced)
        self._replaced = {}
        start = self._clock()
        with self._watch("a decode step"):
            self._model.step()
            self.deliver()
            tokens = self._model.read_tokens()
            logits, experts = self._logits(jobs), self._experts(jobs)
        for job in jobs:
            job.done += 1
            self._go_on(job, tokens, logits, experts)
        taken_s = self._clock() - start
        self._owed_s = max(0.0, self._owed_s - taken_s)
        self._steps_since_pass += 1
        self._stats.steps += 1
        self._stats.step_tokens += len(jobs)
        self._stats.count_turn(len(jobs))
        self._stats.step_s += taken_s

    def _takers(self, of: Pass) -> dict[int, TakeLogits]:
        """By row, who is told the logits of its prompt."""
        requests = {piece.prompt.row: self._in_row(piece.prompt.row).request for piece in of.pieces}
        return {row: partial(_tell, request) for row, request in requests.items() if request.take_prompt_logits}

    def _in_row(self, row: int) -> Job:
        job = self._places.rows[row]
        assert job is not None
        return job

    def _tell_rows(self) -> None:
        self._model.set_rows([_described(job) if job else None for job in self._places.rows])
        self._places.changed = False

    def _logits(self, jobs: Sequence[Job]) -> Any:
        """Read only if one of them draws on the host."""
        return self._model.read_logits() if any(job.request.host_row for job in jobs) else None

    def _experts(self, jobs: Sequence[Job]) -> Mapping[int, Choices]:
        """By row, of those that ask; nothing is read where none does."""
        rows = [job.row for job in jobs if job.request.experts and job.row is not None]
        return self._model.read_experts(rows) if rows else {}

    def _go_on(self, job: Job, tokens: Sequence[int], logits: Any, experts: Mapping[int, Choices]) -> None:
        """What was drawn in its row counts, unless the token to be fed next is its prompt's."""
        if job.done < len(job.ids):
            self._places.changed = True
        else:
            self._take(job, tokens, logits, experts)

    def _take(self, job: Job, tokens: Sequence[int], logits: Any, experts: Mapping[int, Choices]) -> None:
        """Its next token, of those that were drawn in all rows or out of its logits; and its end, if that is it."""
        assert job.row is not None
        request, drawn = job.request, None
        token, chosen = tokens[job.row], experts.get(job.row)
        if request.host_row is not None:
            try:
                drawn = request.host_row.next_token(logits[job.row], job.ids[len(request.ids) :])
            except Exception as error:  # whatever it is, it is this request's alone
                reason = str(error) if isinstance(error, Mistake) else f"{type(error).__name__}: {error}"
                self._end(job, ERROR, f"no token could be drawn any more, see what the request asks for ({reason})")
                return
            token = self._replaced[job.row] = drawn.token
        job.ids.append(token)
        self._stats.new_tokens += 1
        if job.first_token is None:
            job.first_token = self._clock()
        self._undelivered.append((job.stream, Token(token, drawn, chosen)))
        if token in request.stop_ids:
            self._end(job, STOP)
        elif job.n_new == request.max_new_tokens:
            self._end(job, LENGTH)

    # ---------------------------------------------------------------- what goes out

    def _end(self, job: Job, reason: str, message: str | None = None) -> None:
        if job.row is not None:
            self._replaced.pop(job.row, None)
        self._places.remove(job)
        job.over = True
        self._undelivered.append((job.stream, self.finish_of(job, reason, message)))
        self._stats.count_finish(reason)

    def finish_of(self, job: Job, reason: str, message: str | None) -> Finish:
        def since(then: float | None) -> float | None:
            return None if then is None else then - job.submitted

        times = since(job.started), since(job.first_token), self._clock() - job.submitted
        return Finish(reason, message, len(job.request.ids), job.n_cached, job.n_new, *times)

    def deliver(self) -> None:
        """Hands out what there is, which a turn otherwise does in its next call of the model."""
        undelivered, self._undelivered = self._undelivered, []
        for stream, one in undelivered:
            stream.put(one)

    def announce(self, message: str) -> None:
        """Every reader is told that the engine has failed. Any thread may call it, while the loop's own is stuck."""
        self.deliver()
        for job in [*self._places.waiting, *self._places.rows]:
            if job:
                job.stream.put(self.finish_of(job, LOST, message))

    def drop(self, reason: str, message: str | None = None) -> None:
        """Ends all requests, and forgets what is cached."""
        for job in [*self._places.waiting, *self._places.rows]:
            if job and not job.over:
                self._end(job, reason, message)
        self._places.blocks.forget()
        self._deadlines.clear()
        self.deliver()


def _tell(request: Request, start: int, logits: Any) -> None:
    """Those of the prompt: a request that comes again has its answer so far behind it."""
    n = len(request.ids) - start
    if n > 0 and request.take_prompt_logits is not None:
        request.take_prompt_logits(start, logits[:n])


def _described(job: Job) -> Row:
    request = job.request
    token, position = (job.ids[job.done], job.done) if job.decodes else (0, None)
    reads_experts = request.experts and job.decodes
    return Row(request.sampling, job.n_new, token, position, job.blocks, request.host_row is not None, reads_experts)
