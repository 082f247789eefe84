"""The engine's loop: requests in, one pass or one step after the other, tokens out. One thread, no waiting.

    arrivals -> waiting -> row + blocks -> passes: its prompt, in pieces -> steps -> finish
                   ^------- blocks given back to an older one: preempted -----'

A step's tokens are read, added to their requests and looked at for an end at once: that is some microseconds. What is
slower, handing them to the readers and keeping the caches' books, is done while the chips work on the next step.
"""

import heapq
import time
from bisect import insort
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import Any

from models.mixtral8x7b.engine.job import Job
from models.mixtral8x7b.engine.kv_blocks import KVBlocks
from models.mixtral8x7b.engine.model import ROWS, Model, Row
from models.mixtral8x7b.engine.scheduler import (
    MOST_PASSED,
    Move,
    Prefilling,
    Waiting,
    admitted,
    by_turn,
    next_move,
)
from models.mixtral8x7b.engine.stats import Stats
from models.mixtral8x7b.engine.stream import CANCELLED, DEADLINE, ERROR, LENGTH, STOP, Finish, Stream, Token
from models.mixtral8x7b.mistake import Mistake
from models.mixtral8x7b.packing import START_UNIT, next_pass
from models.mixtral8x7b.paging import KV_BLOCK, Prompt, blocks_for

LOOK_AHEAD = ROWS + MOST_PASSED  # of those that wait: further back nobody can have a row
GROW_TOGETHER = 32  # steps: rows that need a block so soon get it with one that needs it now, in one write of the rows
SOME_TIME = 1e-9  # seconds: a pass has taken more than none, whatever the clock says


class Loop:
    """Owns the model. `pass_tokens` limits a pass while somebody decodes. `watch` surrounds every call of the model."""

    def __init__(
        self,
        model: Model,
        pass_tokens: int,
        prefix_cache: bool,
        clock: Callable[[], float] = time.monotonic,
        watch: Callable[[str], AbstractContextManager[None]] = lambda what: nullcontext(),
    ) -> None:
        self._model, self._pass_tokens, self._clock, self._watch = model, pass_tokens, clock, watch
        self._blocks, self._caches = KVBlocks(model.n_blocks), prefix_cache
        self._waiting: list[Job] = []  # by number
        self._rows: list[Job | None] = [None] * ROWS
        self._deadlines: list[tuple[float, int, Job]] = []  # a heap
        self._arrivals = 0
        self._undelivered: list[tuple[Stream, Token | Finish]] = []
        self._owed_s, self._steps_since_pass = 0.0, 0
        self._room_changed = False  # so that somebody may get a row who could not
        self._rows_changed = False  # by more than a step does, since the model was told
        self._replaced: dict[int, int] = {}  # tokens that were drawn on the host, by row
        self._stats = Stats()

    # ---------------------------------------------------------------- what comes in

    def add(self, job: Job) -> None:
        """The request's `check` must have passed."""
        job.number = self._arrivals
        self._arrivals += 1
        self._waiting.append(job)
        self._room_changed = True
        if job.request.deadline_s is not None:
            if len(self._deadlines) > 2 * (len(self._waiting) + ROWS):  # most of them are of requests that are over
                self._deadlines = [one for one in self._deadlines if not one[2].over]
                heapq.heapify(self._deadlines)
            heapq.heappush(self._deadlines, (job.submitted + job.request.deadline_s, job.number, job))

    def cancel(self, job: Job) -> None:
        if not job.over:
            self._end(job, CANCELLED)

    def turn(self) -> bool:
        """One pass or one step, and what there is to do before it; False if nobody is there to do it for."""
        self._end_late()
        self._admit()
        decodes = any(job and job.decodes for job in self._rows)
        rows = sum(blocks_for(len(job.prompt.ids) - job.done) for job in self._rows if job and job.prompt) * KV_BLOCK
        move = next_move(rows, len(self._waiting), decodes, self._owed_s, self._steps_since_pass)
        if move is Move.PASS:
            self._pass(stalls=decodes)
        elif move is Move.STEP:
            self._step()
        else:
            self.deliver()
            if self._waiting:
                raise RuntimeError(f"{len(self._waiting)} requests wait and none has a row")
        return move is not Move.WAIT

    @property
    def n_waiting(self) -> int:
        return len(self._waiting)

    def stats(self) -> Stats:
        """Of this moment; the loop's own object."""
        stats, jobs = self._stats, [job for job in self._rows if job]
        stats.n_waiting, stats.n_decoding = self.n_waiting, sum(job.decodes for job in jobs)
        stats.n_prefilling = len(jobs) - stats.n_decoding
        blocks = self._blocks
        stats.n_free_blocks, stats.n_cached_blocks, stats.n_held_blocks = blocks.n_free, blocks.n_cached, blocks.n_held
        return stats

    # ---------------------------------------------------------------- rows and blocks

    def _end_late(self) -> None:
        while self._deadlines and self._deadlines[0][0] <= self._clock():
            job = heapq.heappop(self._deadlines)[2]
            if not job.over:
                self._end(job, DEADLINE)

    def _admit(self) -> None:
        if not (self._room_changed and self._waiting):
            return
        self._room_changed = False
        first = list(islice(self._waiting, LOOK_AHEAD))
        waiting = (self._waiting_as(job) for job in first)
        free_rows = self._rows.count(None)
        prefilling = [job for job in self._rows if job and job.prompt and self._caches]
        being_filled = {link.digest for job in prefilling if (link := job.unit_link(job.done))}
        growing = sum(job.grows for job in self._rows if job)
        chosen = admitted(waiting, free_rows, self._blocks.n_available, growing, being_filled)
        left = len(chosen)
        for index, job in enumerate(first):
            if left and index == chosen[len(chosen) - left]:
                left -= 1
                self._start(job)
            else:
                job.passed += left
        if chosen:
            self._waiting[: len(first)] = [job for job in first if job.row is None]

    def _hit(self, job: Job) -> list[int]:
        """Blocks that have the beginning of its ids: whole START_UNITs, and a token at least is left to compute."""
        if not self._reads_cache(job):
            return []
        most = (len(job.ids) - 1) // START_UNIT * START_UNIT
        found = self._blocks.find(job.full_links(most))
        return found[: len(found) * KV_BLOCK // START_UNIT * START_UNIT // KV_BLOCK]

    def _reads_cache(self, job: Job) -> bool:
        return self._caches and not job.request.scores_prompt

    def _waiting_as(self, job: Job) -> Waiting:
        """Others who start before it can only lower the blocks that it takes."""
        hit = self._hit(job)
        link = job.unit_link(len(hit) * KV_BLOCK) if self._reads_cache(job) else None
        blocks = blocks_for(len(job.ids)) - self._blocks.n_shared(hit)
        return Waiting(blocks, job.passed, link.digest if link else None, job.grows)

    def _start(self, job: Job) -> None:
        hit = self._hit(job)
        self._blocks.share(hit)
        job.blocks = hit + self._blocks.take(blocks_for(len(job.ids)) - len(hit))
        job.done = len(hit) * KV_BLOCK
        job.row = self._rows.index(None)
        ids = job.in_passes
        if job.done < len(ids):
            job.prompt = Prompt(job.row, ids, job.blocks, job.done)
        else:
            job.decodes = self._rows_changed = True
        job.passes = 0
        self._rows[job.row] = job
        if job.started is None:
            job.started, job.n_cached = self._clock(), job.done
            self._stats.prompt_tokens += len(job.ids)
            self._stats.cached_tokens += job.done

    def _grow(self) -> None:
        """Every row that decodes has a block for its next position, or is preempted: from those that came last on."""
        decoding = [job for job in self._rows if job and job.decodes]
        if not any(job.lacks_block for job in decoding):
            return
        self._rows_changed = True
        for job in decoding:
            while job.row is not None and job.lacks_block:
                if self._blocks.n_available:
                    job.blocks += self._blocks.take(1)
                else:
                    self._preempt(max((other for other in self._rows if other), key=lambda other: other.number))
        for job in decoding:
            soon = min(job.done + GROW_TOGETHER, job.request.most_positions - 1) >= KV_BLOCK * len(job.blocks)
            if soon and job.row is not None and self._blocks.n_available > ROWS:
                job.blocks += self._blocks.take(1)

    def _preempt(self, job: Job) -> None:
        self._leave_row(job)
        insort(self._waiting, job, key=lambda job: job.number)
        self._stats.preemptions += 1

    def _leave_row(self, job: Job) -> None:
        assert job.row is not None
        self._keep(job, 0)
        self._blocks.release(job.blocks)
        self._rows[job.row] = None
        job.row, job.prompt, job.blocks, job.done, job.decodes = None, None, [], 0, False
        self._rows_changed = self._room_changed = True

    def _keep(self, job: Job, start: int) -> None:
        """Its full blocks from a position on can be found by others."""
        if self._caches:
            full = slice(start // KV_BLOCK, job.done // KV_BLOCK)
            self._blocks.keep(job.blocks[full], job.full_links(job.done)[full])

    # ---------------------------------------------------------------- passes and steps

    def _pass(self, stalls: bool) -> None:
        """stalls: somebody decodes, who waits for it."""
        jobs = [(job, job.prompt) for job in self._rows if job and job.prompt]
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
            tokens = self._model.prefill(of)
            ending = [self._in_row(piece.prompt.row) for piece in of.pieces if piece.ends_prompt]
            logits = self._logits(ending)
        for piece in of.pieces:
            job = self._in_row(piece.prompt.row)
            job.done = piece.end
            self._keep(job, piece.start)
        for job in ending:
            job.prompt, job.decodes = None, True
            self._go_on(job, tokens, logits)
        self._rows_changed, self._replaced = True, {}
        self._room_changed = True  # who waited for what this pass has computed may come
        taken_s = max(self._clock() - start, SOME_TIME)
        self._owed_s, self._steps_since_pass = self._owed_s + taken_s if stalls else 0.0, 0
        self._stats.passes += 1
        self._stats.pass_rows += of.size
        self._stats.prefilled_tokens += sum(piece.end - piece.start for piece in of.pieces)
        self._stats.pass_s += taken_s

    def _step(self) -> None:
        self._grow()
        jobs = [job for job in self._rows if job and job.decodes]
        if not jobs:
            return
        if self._rows_changed:
            self._tell_rows()
        elif self._replaced:
            self._model.write_tokens(self._replaced)
        self._replaced = {}
        start = self._clock()
        with self._watch("a decode step"):
            self._model.step()
            self.deliver()
            tokens = self._model.read_tokens()
            logits = self._logits(jobs)
        for job in jobs:
            job.done += 1
            self._go_on(job, tokens, logits)
        taken_s = self._clock() - start
        self._owed_s = max(0.0, self._owed_s - taken_s)
        self._steps_since_pass += 1
        self._stats.steps += 1
        self._stats.step_tokens += len(jobs)
        self._stats.step_s += taken_s

    def _in_row(self, row: int) -> Job:
        job = self._rows[row]
        assert job is not None
        return job

    def _tell_rows(self) -> None:
        self._model.set_rows([_described(job) if job else None for job in self._rows])
        self._rows_changed = False

    def _logits(self, jobs: Sequence[Job]) -> Any:
        """Read only if one of them draws on the host."""
        return self._model.read_logits() if any(job.request.host_row for job in jobs) else None

    def _go_on(self, job: Job, tokens: Sequence[int], logits: Any) -> None:
        """What was drawn in its row counts, unless the token to be fed next is its prompt's."""
        if job.done < len(job.ids):
            self._rows_changed = True
        else:
            self._take(job, tokens, logits)

    def _take(self, job: Job, tokens: Sequence[int], logits: Any) -> None:
        """Its next token, of those that were drawn in all rows or out of its logits; and its end, if that is it."""
        assert job.row is not None
        request, drawn = job.request, None
        token = tokens[job.row]
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
        self._undelivered.append((job.stream, Token(token, drawn)))
        if token in request.stop_ids:
            self._end(job, STOP)
        elif job.n_new == request.max_new_tokens:
            self._end(job, LENGTH)

    # ---------------------------------------------------------------- what goes out

    def _end(self, job: Job, reason: str, message: str | None = None) -> None:
        if job.row is not None:
            self._leave_row(job)
        else:
            self._waiting.remove(job)
            self._room_changed = True
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
        for job in [*self._waiting, *self._rows]:
            if job:
                job.stream.put(self.finish_of(job, ERROR, message))

    def drop(self, reason: str, message: str | None = None) -> None:
        """Ends all requests, and forgets what is cached."""
        for job in [*self._waiting, *self._rows]:
            if job and not job.over:
                self._end(job, reason, message)
        self._blocks.forget()
        self._deadlines.clear()
        self.deliver()


def _described(job: Job) -> Row:
    request = job.request
    token, position = (job.ids[job.done], job.done) if job.decodes else (0, None)
    return Row(request.sampling, job.n_new, token, position, job.blocks, request.host_row is not None)
