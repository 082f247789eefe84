"""Rows of text to batches of token ids: encoding, what the loss counts, packing to similar length.

Shapes: B rows, S tokens of the longest row.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.mixtral8x7b.tokenizer import Tokenizer
from training.corpus import Row

GIVEN_WEIGHT = 0.1  # of given tokens in the loss: the model shall learn to answer, not to ask
POOL_ROWS = 8192  # sorted by length together: more gives less padding, but batches that come in a less random order


@dataclass(frozen=True)
class Example:
    """The ids of a row and how much the loss counts each of them (the first is never predicted)."""

    kind: str
    ids: list[int]
    weights: list[float]


@dataclass(frozen=True)
class Batch:
    """Rows padded on the right. Padding counts nothing, and no real token sees it: attention looks back only."""

    tokens_BS: Tensor
    weights_BS: Tensor
    is_real_BS: Tensor
    may_stretch: bool  # long documents: see train.stretched_positions

    @property
    def n_tokens(self) -> int:
        return int(self.is_real_BS.sum())


def encode(row: Row, tokenizer: Tokenizer) -> Example:
    """BOS, the text, EOS; in a conversation EOS after each answer. What is wanted counts fully, EOS with it."""
    ids: list[int] = []
    weights: list[float] = []
    for n, turn in enumerate(row.turns):
        if not row.is_chat:
            # Turns meet where no piece spans them, so the beginning of a text has the ids of its beginning.
            new = tokenizer.encode("".join(row.turns[: n + 1]))[len(ids) :]
        elif n % 2 == 0:
            new = tokenizer.encode_chat([turn])[n > 0 :]  # BOS once
        else:
            new = [*tokenizer.encode(turn, bos=False), tokenizer.eos_id]
        ids += new
        weights += [GIVEN_WEIGHT if n % 2 == 0 else 1.0] * len(new)
    if not row.is_chat:
        ids.append(tokenizer.eos_id)
        weights.append(1.0)
    return Example(row.kind, ids, weights)


def pack(examples: Iterable[Example], seed: int, rows_per_batch: int, tokens_per_batch: int) -> list[Batch]:
    """Batches of similar length in random order, each of at most so many rows and so many tokens with padding."""
    rng = random.Random(f"batches {seed}")
    waiting = list(examples)
    rng.shuffle(waiting)
    batches = []
    for start in range(0, len(waiting), POOL_ROWS):
        groups: list[list[Example]] = [[]]
        for example in sorted(waiting[start : start + POOL_ROWS], key=lambda e: len(e.ids)):
            group = groups[-1]
            if group and (len(group) == rows_per_batch or (len(group) + 1) * len(example.ids) > tokens_per_batch):
                groups.append([])
            groups[-1].append(example)
        rng.shuffle(groups)
        batches += [_batch(group) for group in groups]
    return batches


def _batch(examples: Sequence[Example]) -> Batch:
    longest = max(len(example.ids) for example in examples)
    tokens_BS = torch.zeros(len(examples), longest, dtype=torch.int64)
    weights_BS = torch.zeros(len(examples), longest)
    is_real_BS = torch.zeros(len(examples), longest, dtype=torch.bool)
    for row, example in enumerate(examples):
        length = len(example.ids)
        tokens_BS[row, :length] = torch.tensor(example.ids)
        weights_BS[row, :length] = torch.tensor(example.weights)
        is_real_BS[row, :length] = True
    return Batch(tokens_BS, weights_BS, is_real_BS, all(example.kind == "long document" for example in examples))
