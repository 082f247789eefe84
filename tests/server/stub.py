"""A model behind the real engine that holds texts for likely, and says given ones where it is asked for them."""

import threading
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch

from models.mixtral8x7b.engine.model import ROWS, Choices, ExpertSizes, Row, TakeLogits
from models.mixtral8x7b.packing import Pass
from models.mixtral8x7b.sampling import probabilities
from models.mixtral8x7b.tokenizer import Tokenizer

SURE = 40.0  # logit of the token that it has been told to say


class TextModel:
    """A token's logits are noise that its whole context decides. Where the prompt's text holds one of `says`, the
    answer is that text and then EOS. While `gate` is closed no step and no pass is made."""

    largest_pass = 1024

    def __init__(
        self,
        tokenizer: Tokenizer,
        max_context: int = 512,
        n_blocks: int = 256,
        experts: ExpertSizes | None = None,
    ) -> None:
        self.experts = experts
        self.max_context, self.n_blocks, self.vocab_size = max_context, n_blocks, tokenizer.vocab_size
        self.says: dict[str, str | list[int]] = {}  # text, or ids
        self.gate, self.reached = threading.Event(), threading.Event()
        self.gate.set()
        self.prompts: list[list[int]] = []
        self.n_steps = 0
        self._tokenizer = tokenizer
        self._rows: list[Row | None] = [None] * ROWS
        self._ids: list[list[int]] = [[] for _ in range(ROWS)]
        self._fed = [0] * ROWS
        self._logits = torch.zeros(ROWS, self.vocab_size)
        self._tokens = [0] * ROWS

    def set_rows(self, rows: Sequence[Row | None]) -> None:
        self._rows = list(rows)
        for number, row in enumerate(rows):
            if row is not None and row.position is not None:
                self._fed[number] = row.token
                del self._ids[number][row.position :]

    def prefill(self, of: Pass, take_logits: Mapping[int, TakeLogits]) -> list[int]:
        self._wait()
        tokens = [0] * ROWS
        for piece in of.pieces:
            ids, number = piece.prompt.ids, piece.prompt.row
            row = self._rows[number]
            assert row is not None
            if take := take_logits.get(number):
                n_prompt = len(ids) - row.next_index
                take(
                    piece.start,
                    torch.stack([self.logits(ids[: i + 1], n_prompt) for i in range(piece.start, piece.end)]),
                )
            if piece.ends_prompt:
                self.prompts.append(list(ids))
                self._ids[number] = list(ids)
                tokens[number] = self._draw(number, row)
        return tokens

    def step(self) -> None:
        self._wait()
        self.n_steps += 1
        self._tokens = [0] * ROWS
        for number, row in enumerate(self._rows):
            if row is not None and row.position is not None:
                self._ids[number].append(self._fed[number])
                self._tokens[number] = self._fed[number] = self._draw(number, row)
                self._rows[number] = row._replace(next_index=row.next_index + 1)

    def read_tokens(self) -> list[int]:
        return self._tokens

    def read_logits(self) -> torch.Tensor:
        return self._logits

    def read_experts(self, rows: Collection[int]) -> dict[int, Choices]:
        return {row: self.chosen(self._ids[row]) for row in rows}

    def write_tokens(self, tokens: Mapping[int, int]) -> None:
        for number, token in tokens.items():
            self._fed[number] = token

    def logits(self, ids: Sequence[int], n_prompt: int) -> torch.Tensor:
        """Behind the last of the ids, of which n_prompt are a prompt."""
        noise = np.random.default_rng([*ids]).standard_normal(self.vocab_size, dtype=np.float32)
        logits, prompt = torch.from_numpy(3 * noise), self._tokenizer.decode(ids[:n_prompt])
        for key, text in self.says.items():
            if key in prompt and len(ids) >= n_prompt:
                answer = self._tokenizer.encode(text, bos=False) if isinstance(text, str) else text
                said = [*answer, self._tokenizer.eos_id]
                logits[said[min(len(ids) - n_prompt, len(said) - 1)]] += SURE
        return logits

    def chosen(self, ids: Sequence[int]) -> list[list[int]]:
        """The experts of the last of the ids."""
        assert self.experts is not None
        layers, experts, per_token = self.experts
        return [[(sum(ids) + layer + 3 * rank) % experts for rank in range(per_token)] for layer in range(layers)]

    def _draw(self, number: int, row: Row) -> int:
        logits = self.logits(self._ids[number], len(self._ids[number]) - row.next_index)
        self._logits[number] = logits
        weights = probabilities(logits[None], row.sampling)[0].double().numpy()
        generator = np.random.default_rng([row.sampling.seed, row.next_index])
        return int(generator.choice(len(weights), p=weights / weights.sum()))

    def _wait(self) -> None:
        if not self.gate.is_set():
            self.reached.set()
        assert self.gate.wait(60)
        self.reached.clear()
