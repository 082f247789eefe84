"""Many T3000s behind one router, simulated: each with the engine's own loop over modelled chips, on one clock.

An event is a replica's next turn (a pass or a step), or a chat's next question. A turn is made at its beginning: who
comes while it runs is seen by the next one, as in the engine's thread.
"""

import heapq
import random
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from math import ceil, log
from typing import NamedTuple, Protocol

from benchmarks.modelled_chips import ModelledChips, Times
from models.mixtral8x7b.engine.job import Job
from models.mixtral8x7b.engine.loop import Loop
from models.mixtral8x7b.engine.request import Request
from models.mixtral8x7b.engine.stream import Finish, Stream, Token

PASS_TOKENS = 2048  # the server's own default
CONNECT_S = 1.0  # a router waits so long for a machine that is gone, once; then all leave it out
LONGEST_ANSWER = 4  # times the mean


class Chat(NamedTuple):
    """Tokens of a system prompt that all share, of the first question, of each further one and of an answer (mean)."""

    name: str
    system: int
    first: int
    further: int
    answer: int
    turns: int
    think_s: float


class Replica:
    def __init__(self, number: int, times: Times) -> None:
        self.number, self._times = number, times
        self.start()

    def start(self, now: float = 0.0) -> None:
        """Afresh, with an empty cache."""
        self.chips = ModelledChips(self._times)
        self.chips.now = now
        self.loop = Loop(self.chips, PASS_TOKENS, prefix_cache=True, clock=lambda: self.chips.now)
        self.open: set[Answer] = set()  # as a router counts them
        self.is_alive, self.has_turn = True, False


class Answer(Stream):
    """To one question of a chat, from the replica that it was routed to; `go_on` is what the chat does when it ends."""

    def __init__(
        self, asked_at: float, routed_at: float, replica: Replica, go_on: Callable[["Answer", Finish], None]
    ) -> None:
        super().__init__()
        self.asked_at, self.routed_at, self.replica, self._go_on = asked_at, routed_at, replica, go_on

    def put(self, one: Token | Finish) -> None:
        if isinstance(one, Finish):
            self._go_on(self, one)


class Policy(Protocol):
    """Which of the replicas, some of them dead without the router's knowledge, has the next question of a session."""

    def __call__(self, session: int, replicas: Sequence[Replica]) -> Replica: ...


class RoundRobin:
    def __init__(self) -> None:
        self._next = count()

    def __call__(self, session: int, replicas: Sequence[Replica]) -> Replica:
        return replicas[next(self._next) % len(replicas)]


class LeastConnections:
    def __init__(self) -> None:
        self._draw = random.Random(0)

    def __call__(self, session: int, replicas: Sequence[Replica]) -> Replica:
        least = min(len(replica.open) for replica in replicas)
        return self._draw.choice([replica for replica in replicas if len(replica.open) == least])


class TwoChoices:
    """The less busy one of two that are drawn."""

    def __init__(self) -> None:
        self._draw = random.Random(0)

    def __call__(self, session: int, replicas: Sequence[Replica]) -> Replica:
        one, other = self._draw.choice(replicas), self._draw.choice(replicas)
        return min(one, other, key=lambda replica: len(replica.open))


class Affinity:
    """A session's own by consistent hashing, so that a replica that goes moves its own sessions only; with `most` the
    next ones on the ring instead while that is busier than so many times the mean."""

    def __init__(self, most: float | None = None, points: int = 64) -> None:
        self._most, self._points = most, points
        self._of: Sequence[Replica] = ()
        self._places: list[int] = []
        self._ring: list[Replica] = []

    def __call__(self, session: int, replicas: Sequence[Replica]) -> Replica:
        if self._of is not replicas:
            self._of = replicas
            placed = [(_place(one.number, point), one) for one in replicas for point in range(self._points)]
            placed.sort(key=lambda place: place[0])
            self._places, self._ring = [place for place, _ in placed], [one for _, one in placed]
        at = bisect_left(self._places, _place(session, -1)) % len(self._ring)
        if self._most is None:
            return self._ring[at]
        bound = self._most * (1 + sum(len(replica.open) for replica in replicas) / len(replicas))
        for step in range(len(self._ring)):
            replica = self._ring[(at + step) % len(self._ring)]
            if len(replica.open) < bound:
                return replica
        raise AssertionError("all are busier than the mean of all")


def _place(one: int, other: int) -> int:
    return random.Random(f"{one} {other}").getrandbits(32)


POLICIES: dict[str, Callable[[], Policy]] = {
    "round robin": RoundRobin,
    "least connections": LeastConnections,
    "two choices": TwoChoices,
    "affinity": Affinity,
    "affinity, bounded": lambda: Affinity(1.25),
}


@dataclass(frozen=True)
class Told:
    """Of one question that was answered. Seconds as whoever asked it counts them."""

    asked_at: float
    first_s: float
    per_token_s: float | None  # of the tokens after the first
    n_prompt: int
    n_cached: int
    n_new: int


class Fleet:
    """Chats begin at random, chats_per_s of them, while `run` runs.

    told      questions that were answered
    lost      when questions ended without their answer, because their replica had failed
    delayed   how many were sent to a replica that was gone
    """

    def __init__(
        self, times: Times, n_replicas: int, policy: Policy, chat: Chat, chats_per_s: float, seed: int = 0
    ) -> None:
        self.replicas = [Replica(number, times) for number in range(n_replicas)]
        self.told: list[Told] = []
        self.lost: list[float] = []
        self.delayed = 0
        self._routed = list(self.replicas)  # those that the router does not know to be gone
        self._policy, self._chat, self._rate, self._draw = policy, chat, chats_per_s, random.Random(seed)
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._serials = count()

    def at(self, when: float, do: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (when, next(self._serials), do))

    def run(self, until: float) -> None:
        self.at(self._draw.expovariate(self._rate), self._begin)
        while self._events and self._events[0][0] < until:
            when, _, do = heapq.heappop(self._events)
            do(when)

    # ---------------------------------------------------------------- failure

    def fail(self, numbers: Sequence[int], back_after_s: float) -> Callable[[float], None]:
        """An event: these are gone, with all that they were asked, and come back later with empty caches."""

        def do(now: float) -> None:
            for number in numbers:
                replica = self.replicas[number]
                replica.is_alive = False
                self.lost += [now] * len(replica.open)
                replica.open.clear()
                self.at(now + back_after_s, partial(self._return, replica))

        return do

    def _return(self, replica: Replica, now: float) -> None:
        replica.start(now)
        if replica not in self._routed:
            self._routed = sorted([*self._routed, replica], key=lambda one: one.number)

    def _leave_out(self, replica: Replica) -> None:
        if not replica.is_alive:
            self._routed = [one for one in self._routed if one is not replica]

    # ---------------------------------------------------------------- chats

    def _begin(self, now: float) -> None:
        self.at(now + self._draw.expovariate(self._rate), self._begin)
        session = next(self._serials)
        own = [session % 30000 + 1, session // 30000 + 1]  # no two chats go on alike
        self._ask(session, [7] * self._chat.system + own + [5] * (self._chat.first - len(own)), self._chat.turns, now)

    def _ask(self, session: int, ids: list[int], turns: int, now: float) -> None:
        mean = self._chat.answer
        n_new = min(LONGEST_ANSWER * mean, max(1, ceil(log(1 - self._draw.random()) / log(1 - 1 / mean))))

        def go_on(answer: Answer, finish: Finish) -> None:
            if answer not in answer.replica.open:
                return  # it was lost
            answer.replica.open.remove(answer)
            self.told.append(_told(answer, finish))
            if turns > 1:
                following = ids + [0] * finish.n_new + [5] * self._chat.further
                think_s = self._draw.expovariate(1 / self._chat.think_s)
                ended = answer.routed_at + finish.total_s
                self.at(ended + think_s, lambda then: self._ask(session, following, turns - 1, then))

        self._route(session, Request(ids, n_new), now, go_on, now)

    def _route(
        self,
        session: int,
        request: Request,
        asked_at: float,
        go_on: Callable[[Answer, Finish], None],
        now: float,
    ) -> None:
        replica = self._policy(session, self._routed)
        if replica.is_alive:
            answer = Answer(asked_at, now, replica, go_on)
            replica.open.add(answer)
            replica.loop.add(Job(request, answer, now))
            if not replica.has_turn:
                replica.chips.now = max(replica.chips.now, now)
                self._turn(replica, replica.chips, now)
            return

        def try_another(then: float) -> None:
            self._leave_out(replica)
            self._route(session, request, asked_at, go_on, then)

        self.delayed += 1
        self.at(now + CONNECT_S, try_another)

    def _turn(self, replica: Replica, chips: ModelledChips, now: float) -> None:
        if replica.chips is chips and replica.is_alive:
            replica.has_turn = replica.loop.turn()
            if replica.has_turn:
                self.at(chips.now, partial(self._turn, replica, chips))


def _told(answer: Answer, finish: Finish) -> Told:
    assert finish.first_token_s is not None
    after_s = (finish.total_s - finish.first_token_s) / (finish.n_new - 1) if finish.n_new > 1 else None
    first_s = answer.routed_at - answer.asked_at + finish.first_token_s
    return Told(answer.asked_at, first_s, after_s, finish.n_prompt, finish.n_cached, finish.n_new)
