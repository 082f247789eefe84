"""Who has a row and which blocks, and who waits for them. What the scheduler decides is done here."""

from bisect import insort
from itertools import islice

from models.mixtral8x7b.engine.job import Job
from models.mixtral8x7b.engine.kv_blocks import KVBlocks
from models.mixtral8x7b.engine.model import ROWS
from models.mixtral8x7b.engine.scheduler import MOST_PASSED, Waiting, admitted
from models.mixtral8x7b.engine.stats import Stats
from models.mixtral8x7b.packing import START_UNIT
from models.mixtral8x7b.paging import KV_BLOCK, Prompt, blocks_for

LOOK_AHEAD = ROWS + MOST_PASSED  # of those that wait: further back nobody can have a row
GROW_TOGETHER = 32  # steps: rows that need a block so soon get it with one that needs it now, in one write of the rows


class Places:
    """`changed`: the rows, by more than a step does; whoever tells the model of it sets it back."""

    def __init__(self, n_blocks: int, prefix_cache: bool, stats: Stats) -> None:
        self.blocks = KVBlocks(n_blocks)
        self.waiting: list[Job] = []  # by number
        self.rows: list[Job | None] = [None] * ROWS
        self.changed = False
        self._caches, self._stats = prefix_cache, stats
        self._room_changed = False  # so that somebody may get a row who could not

    def add(self, job: Job) -> None:
        self.waiting.append(job)
        self._room_changed = True

    def remove(self, job: Job) -> None:
        """From its row, or from those that wait."""
        if job.row is not None:
            self.leave(job)
        else:
            self.waiting.remove(job)
            self._room_changed = True

    def look_again(self) -> None:
        """Something that those who wait may wait for has come about."""
        self._room_changed = True

    def admit(self, now: float) -> None:
        """Rows for those of who waits that may have one."""
        if not (self._room_changed and self.waiting):
            return
        self._room_changed = False
        first = list(islice(self.waiting, LOOK_AHEAD))
        waiting = (self._waiting_as(job) for job in first)
        free_rows = self.rows.count(None)
        prefilling = [job for job in self.rows if job and job.prompt and self._caches]
        being_filled = {link.digest for job in prefilling if (link := job.unit_link(job.done))}
        growing = sum(job.grows for job in self.rows if job)
        chosen = admitted(waiting, free_rows, self.blocks.n_available, growing, being_filled)
        left = len(chosen)
        for index, job in enumerate(first):
            if left and index == chosen[len(chosen) - left]:
                left -= 1
                self._start(job, now)
            else:
                job.passed += left
        if chosen:
            self.waiting[: len(first)] = [job for job in first if job.row is None]

    def _hit(self, job: Job) -> list[int]:
        """Blocks that have the beginning of its ids: whole START_UNITs, and a token at least is left to compute."""
        if not self._reads_cache(job):
            return []
        most = (len(job.ids) - 1) // START_UNIT * START_UNIT
        found = self.blocks.find(job.full_links(most))
        return found[: len(found) * KV_BLOCK // START_UNIT * START_UNIT // KV_BLOCK]

    def _reads_cache(self, job: Job) -> bool:
        return self._caches and job.request.take_prompt_logits is None

    def _waiting_as(self, job: Job) -> Waiting:
        """Others who start before it can only lower the blocks that it takes."""
        hit = self._hit(job)
        link = job.unit_link(len(hit) * KV_BLOCK) if self._reads_cache(job) else None
        blocks = blocks_for(len(job.ids)) - self.blocks.n_shared(hit)
        return Waiting(blocks, job.passed, link.digest if link else None, job.grows)

    def _start(self, job: Job, now: float) -> None:
        hit = self._hit(job)
        self.blocks.share(hit)
        job.blocks = hit + self.blocks.take(blocks_for(len(job.ids)) - len(hit))
        job.done = len(hit) * KV_BLOCK
        job.row = self.rows.index(None)
        ids = job.in_passes
        if job.done < len(ids):
            job.prompt = Prompt(job.row, ids, job.blocks, job.done)
        else:
            job.decodes = self.changed = True
        job.passes = 0
        self.rows[job.row] = job
        if job.started is None:
            job.started, job.n_cached = now, job.done
            self._stats.prompt_tokens += len(job.ids)
            self._stats.cached_tokens += job.done

    def grow(self) -> None:
        """Every row that decodes has a block for its next position, or is preempted: from those that came last on."""
        decoding = [job for job in self.rows if job and job.decodes]
        if not any(job.lacks_block for job in decoding):
            return
        self.changed = True
        for job in decoding:
            while job.row is not None and job.lacks_block:
                if self.blocks.n_available:
                    job.blocks += self.blocks.take(1)
                else:
                    self._preempt(max((other for other in self.rows if other), key=lambda other: other.number))
        for job in decoding:
            soon = min(job.done + GROW_TOGETHER, job.request.most_positions - 1) >= KV_BLOCK * len(job.blocks)
            if soon and job.row is not None and self.blocks.n_available > ROWS:
                job.blocks += self.blocks.take(1)

    def _preempt(self, job: Job) -> None:
        self.leave(job)
        insort(self.waiting, job, key=lambda job: job.number)
        self._stats.preemptions += 1

    def leave(self, job: Job) -> None:
        assert job.row is not None
        self.keep(job, 0)
        self.blocks.release(job.blocks)
        self.rows[job.row] = None
        job.row, job.prompt, job.blocks, job.done, job.decodes = None, None, [], 0, False
        self.changed = self._room_changed = True

    def keep(self, job: Job, start: int) -> None:
        """Its full blocks from a position on can be found by others."""
        if self._caches:
            full = slice(start // KV_BLOCK, job.done // KV_BLOCK)
            self.blocks.keep(job.blocks[full], job.full_links(job.done)[full])
