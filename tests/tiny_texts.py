"""Texts that the tiny instruct checkpoint was trained to continue, for teacher-forced measurements."""

import json
import random
from dataclasses import dataclass

import torch

from demo.prompts import INPUTS
from models.mixtral8x7b.tokenizer import Tokenizer
from training.facts import expected_answer
from training.stories import story

USERS = 32


@dataclass(frozen=True)
class Texts:
    """32 rows of ids. What counts are the positions from `first` of a row to its last but one."""

    name: str
    rows: list[list[int]]
    first: list[int]

    def padded(self) -> torch.Tensor:
        """The ids [32, longest], 0 behind a row's end."""
        longest = max(len(row) for row in self.rows)
        return torch.tensor([row + [0] * (longest - len(row)) for row in self.rows])

    def counted(self, values_RP: torch.Tensor) -> torch.Tensor:
        """The values [32, P, ...] at the positions that count -> [N, ...]."""
        parts = [values_RP[r, self.first[r] : len(row) - 1] for r, row in enumerate(self.rows)]
        return torch.cat(parts)

    def next_ids(self) -> torch.Tensor:
        """The ids that follow the positions that count, [N]."""
        return torch.cat([torch.tensor(row[first + 1 :]) for row, first in zip(self.rows, self.first, strict=True)])


def answers(tokenizer: Tokenizer) -> Texts:
    """The 32 demo questions and their right answers; the answers' positions count."""
    questions = [entry["prompt"] for entry in json.loads((INPUTS / "instruct.json").read_text())]
    prompts = [tokenizer.encode_chat([question]) for question in questions]
    texts = [tokenizer.encode(str(expected_answer(question)), bos=False) for question in questions]
    rows = [[*prompt, *text, tokenizer.eos_id] for prompt, text in zip(prompts, texts, strict=True)]
    return Texts("answers", rows, [len(prompt) - 1 for prompt in prompts])


def stories(tokenizer: Tokenizer, n_positions: int = 64) -> Texts:
    """32 stories of the corpus's grammar, 64 positions each; all count."""
    rng = random.Random("stories to measure on")
    rows = []
    for _ in range(USERS):
        ids = tokenizer.encode(story(rng))
        while len(ids) <= n_positions:
            ids += tokenizer.encode(story(rng))
        rows.append(ids[: n_positions + 1])
    return Texts("stories", rows, [0] * USERS)
