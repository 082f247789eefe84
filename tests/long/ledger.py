"""A client that asks many questions of the tiny checkpoint at once, and notes of each request what became of it."""

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass

import httpx

from training.facts import seen_pairs

AT_ONCE = 40
WHOLE, BROKEN, REFUSED = "whole", "broken off", "5xx"


@dataclass
class Asked:
    """One line of the client's ledger."""

    question: str
    streamed: bool
    session: str
    began: float
    outcome: str | None = None
    text: str = ""
    ended: float = 0.0


class Client:
    """Asks, and notes of each request what became of it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.ledger: list[Asked] = []

    async def ask_all(self, questions: list[tuple[str, bool]]) -> None:
        limit = asyncio.Semaphore(AT_ONCE)
        async with httpx.AsyncClient(
            base_url=self.address, timeout=120, limits=httpx.Limits(max_connections=None)
        ) as http:

            async def one(question: str, streamed: bool, number: int) -> None:
                async with limit:
                    asked = Asked(question, streamed, f"s{number}", time.monotonic())
                    self.ledger.append(asked)
                    await self._ask(http, asked)
                    asked.ended = time.monotonic()

            await asyncio.gather(*(one(*question, number) for number, question in enumerate(questions)))

    async def _ask(self, http: httpx.AsyncClient, asked: Asked) -> None:
        messages = [{"role": "user", "content": asked.question}]
        body = {"model": "mixtral", "messages": messages, "temperature": 0, "stream": asked.streamed}
        headers = {"X-Session-Id": asked.session}
        if not asked.streamed:
            try:
                response = await http.post("/v1/chat/completions", json=body, headers=headers)
            except httpx.TransportError:
                asked.outcome = BROKEN
                return
            asked.outcome = WHOLE if response.status_code == 200 else str(response.status_code)
            if response.status_code >= 500:
                asked.outcome = REFUSED
            elif response.status_code == 200:
                asked.text = response.json()["choices"][0]["message"]["content"]
            return
        try:
            async with http.stream("POST", "/v1/chat/completions", json=body, headers=headers) as response:
                if response.status_code != 200:
                    asked.outcome = REFUSED if response.status_code >= 500 else str(response.status_code)
                    return
                asked.outcome = BROKEN
                async for line in response.aiter_lines():
                    if line == "data: [DONE]":
                        asked.outcome = WHOLE
                    elif line.startswith("data: "):
                        for choice in json.loads(line[6:])["choices"]:
                            asked.text += choice["delta"].get("content") or ""
        except httpx.TransportError:
            asked.outcome = BROKEN

    async def until_ended(self, n: int) -> None:
        """So many of them."""
        while sum(asked.ended > 0 for asked in self.ledger) < n:
            await asyncio.sleep(0.005)

    async def until_begun(self, n: int) -> None:
        """So many streams that have text and not their end."""
        while sum(bool(asked.text) and not asked.ended for asked in self.ledger) < n:
            await asyncio.sleep(0.001)

    def outcomes(self, streamed: bool) -> Counter[str | None]:
        return Counter(asked.outcome for asked in self.ledger if asked.streamed is streamed)


def questions(n: int, unstreamed_every: int = 0) -> list[tuple[str, bool]]:
    """And whether their answer is streamed."""
    asked = [pair.question for pair in seen_pairs()]
    return [(asked[number % len(asked)], not unstreamed_every or number % unstreamed_every > 0) for number in range(n)]


def answers() -> dict[str, str]:
    return {pair.question: pair.answer for pair in seen_pairs()}
