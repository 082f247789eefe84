"""Generation: prompts in, one column of token ids per step out. Knows ids only; text is the tokenizer's business.

    for column in Generator(model).generate(prompts, max_new_tokens=50, stop_ids={2}):
        ...                                     # column[user] is a token id, or None where the user has none

Prompts are prefilled in passes of equal padded length, then all users decode together, 32 rows a step. Between steps
the host only reads the 32 ids, and writes when a user's row changes: it is done, or it is still being fed its prompt.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from models.mixtral8x7b.arguments import RequestError
from models.mixtral8x7b.paging import BlockAllocator, Prompt
from models.mixtral8x7b.request import Request
from models.mixtral8x7b.sampling import GREEDY, SamplingParams
from models.mixtral8x7b.tt.decode_state import NO_USER
from models.mixtral8x7b.tt.layouts import DECODE_ROWS
from models.mixtral8x7b.tt.model import Mixtral
from models.mixtral8x7b.tt.traced_step import TracedStep


@dataclass
class _Row:
    """A user in the decode program."""

    prompt: Sequence[int]
    sampling: SamplingParams
    blocks: list[int]
    position: int = 0  # of the next token to be fed
    generated: list[int] = field(default_factory=list)

    @property
    def next_token(self) -> int:
        fed_of_generated = self.position - len(self.prompt)
        return self.prompt[self.position] if fed_of_generated < 0 else self.generated[fed_of_generated]

    @property
    def reads_prompt(self) -> bool:
        """Whether the token after next_token is the prompt's as well, so that what the model says to it is not used."""
        return self.position + 1 < len(self.prompt)


class Generator:
    """Serves one group of up to 32 users at a time. `trace` records the decode step once a group and replays it."""

    def __init__(self, model: Mixtral, trace: bool) -> None:
        self._model = model
        self._traced = TracedStep(model.mesh, model.step) if trace else None
        self._step = self._traced or model.step
        self._allocator = BlockAllocator(model.cache.n_blocks)
        self._is_busy = False

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        max_new_tokens: int,
        sampling: Sequence[SamplingParams] | SamplingParams = GREEDY,
        stop_ids: Collection[int] = (),
        prefill: int | None = None,
    ) -> Iterator[list[int | None]]:
        """Yields columns until every user has a stop id (which is yielded) or max_new_tokens.

        Sampling is one for all users or one each. Only the first `prefill` tokens of a prompt are prefilled (None:
        all); the rest is pushed through the decode program, token by token, and yields None meanwhile.
        Users that share one SamplingParams share its seed: with equal prompts they draw alike.
        Raises, at the first column, RequestError before any work for a request that cannot be served, and
        OutOfBlocksError if its users do not fit in the KV cache together.
        """
        request = Request.read(prompts, max_new_tokens, sampling, stop_ids, prefill)
        request.check(DECODE_ROWS, self._model.config.vocab_size, self._model.max_context)
        if self._is_busy:
            raise RequestError("another group of users is being served; finish or close its generate first")
        rows: dict[int, _Row] = {}  # the users that are not done, by number, which is also their decode row
        self._is_busy = True
        try:
            for user, ids in enumerate(request.prompts):
                blocks = self._allocator.allocate(len(ids) + request.max_new_tokens)
                rows[user] = _Row(ids, request.sampling[user], blocks)
            yield from self._run(rows, request)
        finally:
            self._is_busy = False
            for row in rows.values():
                self._allocator.release(row.blocks)
            if self._traced:
                self._traced.release()
            self._write_rows({})

    def _run(self, rows: dict[int, _Row], request: Request) -> Iterator[list[int | None]]:
        n_users = len(request.prompts)

        def take(user: int, token: int) -> int:
            """Gives a user its new token, and the user's row back if that was the last."""
            rows[user].generated.append(token)
            if token in request.stop_ids or len(rows[user].generated) == request.max_new_tokens:
                self._allocator.release(rows.pop(user).blocks)
            return token

        self._write_rows(rows)
        first = self._prefill(rows, request.prefill)
        if first:
            yield [take(user, first[user]) if user in first else None for user in range(n_users)]
        self._write_rows(rows)
        while rows:
            self._step()
            tokens = self._model.state.read_tokens()
            n_rows, fed = len(rows), {user for user, row in rows.items() if row.reads_prompt}
            for row in rows.values():
                row.position += 1
            yield [take(user, tokens[user]) if user in rows and user not in fed else None for user in range(n_users)]
            if fed or len(rows) < n_rows:
                self._write_rows(rows)

    def _prefill(self, rows: dict[int, _Row], limit: int | None) -> dict[int, int]:
        """Fills the cache; returns the first new token of every user whose whole prompt was prefilled."""
        prompts = [Prompt(user, row.prompt[:limit], row.blocks) for user, row in rows.items() if limit != 0]
        first = {}
        for group in self._model.passes(prompts):
            tokens = self._model.sample(self._model.prefill_pass(group))
            for piece in group.pieces:
                row = rows[piece.prompt.row]
                row.position = piece.end
                if row.position == len(row.prompt):
                    first[piece.prompt.row] = tokens[piece.prompt.row]
        return first

    def _write_rows(self, rows: dict[int, _Row]) -> None:
        tokens, positions = [0] * DECODE_ROWS, [NO_USER] * DECODE_ROWS
        blocks: list[list[int]] = [[]] * DECODE_ROWS
        sampling, indices = [GREEDY] * DECODE_ROWS, [0] * DECODE_ROWS
        for user, row in rows.items():
            tokens[user], positions[user], blocks[user] = row.next_token, row.position, row.blocks
            sampling[user], indices[user] = row.sampling, len(row.generated)
        self._model.state.set_rows(tokens, positions)
        self._model.state.set_blocks(blocks)
        self._model.sampler.set(sampling, indices)
