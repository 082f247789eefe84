"""Answers on their way: from the engine's thread, as tokens, to the event loop, as text."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from models.mixtral8x7b.engine.request import Request
from models.mixtral8x7b.engine.stream import CANCELLED, DEADLINE, ERROR, LENGTH, LOST, STOP, EngineError, Finish
from models.mixtral8x7b.mistake import Mistake
from models.mixtral8x7b.server.errors import ApiError, unavailable
from models.mixtral8x7b.server.scores import Echo, Told
from models.mixtral8x7b.server.service import DRAINING, Service


class AnswerError(Mistake):
    """An answer that could not be finished as it was asked for; the message says why."""


@dataclass(frozen=True)
class Ask:
    """One answer that is wanted.

    stops          strings at which it ends; shows_stop: the one that it ended at is its last text
    after          ids of the text that it goes on with
    ends           stop ids that are no news to the client
    shown          control tokens that are told by their names
    shows_answer   False: only the echo is told
    echo           what is told first
    """

    index: int
    request: Request
    stops: Sequence[str] = ()
    after: Sequence[int] = ()
    ends: Collection[int] = ()
    shown: Collection[int] = ()
    shows_answer: bool = True
    shows_stop: bool = False
    echo: Echo | None = None


@dataclass(frozen=True)
class Ending:
    """reason: stop or length; stop_reason: the string or the id that it stopped at, where that is news."""

    reason: str
    stop_reason: str | int | None
    finish: Finish


@dataclass(frozen=True)
class Part:
    """What has come of an answer: text that is certain, and its tokens. The last has the ending, and may have both."""

    index: int
    text: str
    tokens: list[Told]
    n_new: int  # of the answer, so far
    ending: Ending | None = None


@dataclass
class Collected:
    """All of an answer."""

    index: int
    text: str = ""
    tokens: list[Told] = field(default_factory=list)
    n_new: int = 0
    ending: Ending | None = None


async def parts_of(service: Service, asks: Sequence[Ask]) -> AsyncGenerator[Part, None]:
    """Of all the answers, as they come; every part has text or tokens, but for the last of an answer.

    All are submitted first. If one is refused, or fails, or the caller ends, no more is computed. Raises Mistakes.
    """
    running: list[_Running] = []
    try:
        for ask in asks:
            running.append(_Running(service, ask))
        if len(running) == 1:
            async for part in running[0].parts():
                yield part
            return
        queue: asyncio.Queue[Part | Exception] = asyncio.Queue(maxsize=1)
        pumps = [asyncio.ensure_future(_pump(one, queue)) for one in running]
        try:
            n_left = len(running)
            while n_left:
                come = await queue.get()
                if isinstance(come, Exception):
                    raise come
                n_left -= come.ending is not None
                yield come
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.wait(pumps)
    finally:
        for one in running:
            one.leave()


async def collected(service: Service, asks: Sequence[Ask]) -> list[Collected]:
    """All the answers, whole, in the order of the asks."""
    found = {ask.index: Collected(ask.index) for ask in asks}
    async for part in parts_of(service, asks):
        one = found[part.index]
        one.text += part.text
        one.tokens += part.tokens
        one.n_new, one.ending = part.n_new, part.ending
    return [found[ask.index] for ask in asks]


async def _pump(one: "_Running", queue: "asyncio.Queue[Part | Exception]") -> None:
    try:
        async for part in one.parts():
            await queue.put(part)
    except Exception as error:
        await queue.put(error)


class _Running:
    """One answer that the engine has been given. Raises what `Engine.submit` raises."""

    def __init__(self, service: Service, ask: Ask) -> None:
        self._service, self._ask = service, ask
        self._has_come = asyncio.Event()
        self._answer = service.tokenizer.answer(ask.stops, ask.after, ask.shown)
        self._stream = service.engine.submit(ask.request, _in_loop(self._has_come.set))
        self._tokens: list[Told] = []  # that are not told yet
        self._last_id: int | None = None
        self._n_new = 0
        self._came: float | None = None  # when the last tokens did
        self._is_over = False

    async def parts(self) -> AsyncGenerator[Part, None]:
        echo, text = self._ask.echo, ""
        while self._stream.finish is None:
            text += await self._more()
            if echo is not None and self._n_new:
                self._tokens = echo.told() + self._tokens
                text, echo = echo.text + text, None
            if text and self._stream.finish is None:
                yield self._part(text)
                text = ""
        if (failure := self._failure(self._stream.finish)) is not None:
            if text:
                yield self._part(text)
            raise failure
        ending = self._ending(self._stream.finish)
        if self._ask.shows_answer:
            text += self._answer.finish()
            if self._ask.shows_stop:
                text += self._answer.stopped or ""
        self._is_over = True
        self._service.metrics.count_answer(ending.finish, ending.reason, self._n_new)
        yield self._part(text, ending)

    def leave(self) -> None:
        """It is not wanted any more, if it has not ended."""
        if not self._is_over:
            self._is_over = True
            self._stream.cancel()
            finish = self._stream.finish
            self._service.metrics.count_loss("error" if finish and finish.reason in (ERROR, LOST) else "abort")

    async def _more(self) -> str:
        """The text of the tokens that come next."""
        await self._has_come.wait()
        self._has_come.clear()
        arrived, text = self._stream.arrived(), ""
        for token in arrived:
            if self._answer.stopped is not None:
                break
            self._last_id = token.id
            self._n_new += 1
            if not self._ask.shows_answer:
                continue
            text += self._answer.push(token.id)
            drawn = token.drawn
            logprob, top = (drawn.logprob, drawn.top) if drawn is not None else (None, None)  # type: ignore[attr-defined]
            self._tokens.append(Told(token.id, logprob, top, self._offset(), is_new=True, experts=token.experts))
            if self._answer.stopped is not None:
                self._stream.cancel()
        now = time.monotonic()
        if arrived:
            if self._came is not None:
                self._service.metrics.count_tokens(len(arrived), now - self._came)
            self._came = now
        return text

    def _offset(self) -> int:
        return self._answer.offsets[-1] + (len(self._ask.echo.text) if self._ask.echo else 0)

    def _part(self, text: str, ending: Ending | None = None) -> Part:
        tokens, self._tokens = self._tokens, []
        return Part(self._ask.index, text, tokens, self._n_new if self._ask.shows_answer else 0, ending)

    def _failure(self, finish: Finish) -> Mistake | None:
        """None: it has ended as it was asked for."""
        if self._answer.stopped is not None or finish.reason in (STOP, LENGTH):
            return None
        if finish.reason == DEADLINE:
            message = "the answer took longer than the server lets it; ask for fewer tokens"
            return ApiError(message, status=408, code="timeout")
        if finish.reason == CANCELLED:
            return unavailable(DRAINING)
        return (EngineError if finish.reason == LOST else AnswerError)(finish.message)

    def _ending(self, finish: Finish) -> Ending:
        if self._answer.stopped is not None:
            return Ending("stop", self._answer.stopped, finish)
        if finish.reason == LENGTH or not self._ask.shows_answer:
            return Ending("length", None, finish)
        return Ending("stop", None if self._last_id in self._ask.ends else self._last_id, finish)


def _in_loop(call: Callable[[], None]) -> Callable[[], None]:
    """The call, for another thread; nothing where the loop has ended."""
    loop = asyncio.get_running_loop()

    def from_elsewhere() -> None:
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(call)

    return from_elsewhere
