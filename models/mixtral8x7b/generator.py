"""Generation for one group of users, over the engine's loop: prompts in, one column of token ids per turn out.

    for column in Generator(model, trace).generate(prompts, max_new_tokens=50, stop_ids={2}):
        ...                                     # column[user] is a token id, or None where the user has none

Knows ids only; text is the tokenizer's business.
"""

from collections.abc import Collection, Iterator, Sequence

from models.mixtral8x7b.arguments import RequestError
from models.mixtral8x7b.engine.job import Job
from models.mixtral8x7b.engine.loop import Loop
from models.mixtral8x7b.engine.model import ROWS
from models.mixtral8x7b.engine.request import Request
from models.mixtral8x7b.engine.stream import CANCELLED, Finish, Stream, Token
from models.mixtral8x7b.group import Group
from models.mixtral8x7b.sampling import GREEDY, SamplingParams
from models.mixtral8x7b.tt.engine_model import EngineModel
from models.mixtral8x7b.tt.model import Mixtral


class Generator:
    """Serves one group of up to 32 users at a time. `trace` records the decode step after prefill and replays it."""

    def __init__(self, model: Mixtral, trace: bool) -> None:
        self._model = EngineModel(model, trace, warm=False)
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
        all); the rest is pushed through the decode program, token by token. Users that do not fit in the KV cache
        together wait for one another. Users that share one SamplingParams share its seed: with equal prompts they draw
        alike. Raises RequestError, at the first column, before any work for a request that cannot be served.
        """
        group = Group.read(prompts, max_new_tokens, sampling, stop_ids, prefill)
        group.check(ROWS, self._model.vocab_size, self._model.max_context)
        if self._is_busy:
            raise RequestError("another group of users is being served; finish or close its generate first")
        self._is_busy = True
        loop = Loop(self._model, self._model.largest_pass, prefix_cache=False)
        try:
            users = [_Newest() for _ in group.prompts]
            for user, ids, params in zip(users, group.prompts, group.sampling, strict=True):
                request = Request(ids, max_new_tokens, params, group.stop_ids, prefill=prefill)
                request.check(self._model.vocab_size, self._model.max_context, self._model.n_blocks)
                loop.add(Job(request, user, submitted=0.0))
            while loop.turn():
                loop.deliver()
                column = [user.taken() for user in users]
                if any(token is not None for token in column):
                    yield column
        finally:
            loop.drop(CANCELLED)
            self._model.release()
            self._is_busy = False


class _Newest(Stream):
    """Keeps the token of the last turn."""

    def __init__(self) -> None:
        super().__init__()
        self._token: int | None = None

    def put(self, one: Token | Finish) -> None:
        if isinstance(one, Token):
            self._token = one.id

    def taken(self) -> int | None:
        token, self._token = self._token, None
        return token
