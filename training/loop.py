"""Trains the two tiny checkpoints: first the base flavour on plain text, then, from it, the instruct flavour on
conversations. See training/README.md.
"""

import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from models.mixtral8x7b.config import MixtralConfig
from models.mixtral8x7b.tokenizer import Tokenizer
from training.batches import Batch, encode, pack
from training.checkpoint import write_checkpoint
from training.corpus import rows
from training.fast_model import TINY, FastModel, round_to_bf16
from training.report import report
from training.schedule import learning_rate
from training.tokenizer import train_tokenizer

FOLDERS = {"base": "mixtral-tiny", "instruct": "mixtral-tiny-instruct"}


@dataclass(frozen=True)
class Recipe:
    """How one flavour is trained. The rates, the batch and the balance weight come from trials of this shape."""

    n_words: int
    peak_rate: float
    rows_per_batch: int = 64
    tokens_per_batch: int = 2048  # bounds the memory of a step; one row may exceed it
    warm_up: int = 100  # steps
    weight_decay: float = 0.05
    balance: float = 0.015  # weight of the load-balancing loss
    stretched: float = 0.5  # of the batches of long documents, see stretched_positions


RECIPES = {
    "base": Recipe(n_words=1_700_000, peak_rate=2e-3),
    "instruct": Recipe(n_words=1_300_000, peak_rate=1.5e-3),
}


def load_balancing_loss(logits_NE: Tensor, is_real_N: Tensor, config: MixtralConfig) -> Tensor:
    """1 when the experts are used equally, more when not (Fedus et al., 2021: chosen share x mean probability)."""
    logits_NE = logits_NE[is_real_N]
    chosen_NA = logits_NE.topk(config.moe.num_experts_per_tok).indices
    share_E = one_hot(chosen_NA, config.moe.num_experts).float().mean((0, 1))
    return config.moe.num_experts * (share_E * logits_NE.softmax(-1).mean(0)).sum()


def stretched_positions(n: int, most: int, rng: random.Random) -> Tensor:
    """Positions 0 .. n-1 with up to three gaps, so that short rows show the model distances of long ones.

    stretched_positions(5, 100, rng) may be 0, 1, 31, 32, 33. The last position stays under `most`.
    """
    steps = torch.ones(n, dtype=torch.int64)
    steps[0] = 0
    for _ in range(rng.randint(1, 3)):
        free = most - 1 - int(steps.sum())
        steps[rng.randrange(1, n)] += int(max(1, free) ** rng.random()) - 1
    return steps.cumsum(0)


@dataclass
class Progress:
    """Prints how far the training is, about every `every` steps."""

    n_steps: int
    say: Callable[[str], None]
    every: int = 50
    started: float = field(default_factory=time.monotonic)
    n_tokens: int = 0
    _losses: list[float] = field(default_factory=list)
    _balances: list[float] = field(default_factory=list)

    def step(self, number: int, loss: float, balance: float, n_tokens: int) -> None:
        self.n_tokens += n_tokens
        self._losses.append(loss)
        self._balances.append(balance)
        if (number + 1) % self.every and number + 1 != self.n_steps:
            return
        seconds = time.monotonic() - self.started
        left = seconds / (number + 1) * (self.n_steps - number - 1)
        self.say(
            f"step {number + 1}/{self.n_steps}  loss {sum(self._losses) / len(self._losses):.3f}  "
            f"balance {sum(self._balances) / len(self._balances):.3f}  {self.n_tokens / seconds:.0f} tokens/s  "
            f"{seconds / 60:.1f} min, {left / 60:.1f} min left"
        )
        self._losses.clear()
        self._balances.clear()


def batch_losses(model: FastModel, batch: Batch, positions_S: Tensor | None) -> tuple[Tensor, Tensor, int]:
    """(loss of what is wanted and, less, of what is given; load-balancing loss, mean over layers; number of layers)."""
    router_logits: list[Tensor] = []

    def observe(name: str, value: Tensor) -> None:
        if name.endswith(".router_logits"):
            router_logits.append(value)

    logits_BSV = model(batch.tokens_BS, positions_S, observe)
    of_token = cross_entropy(logits_BSV[:, :-1].flatten(0, 1), batch.tokens_BS[:, 1:].flatten(), reduction="none")
    weights = batch.weights_BS[:, 1:].flatten()
    loss = (of_token * weights).sum() / weights.sum()
    config, is_real_N = model.model.config, batch.is_real_BS.flatten()
    balances = [load_balancing_loss(logits, is_real_N, config) for logits in router_logits]
    return loss, sum(balances, torch.zeros(())) / len(balances), len(balances)


def make_optimizer(model: FastModel, weight_decay: float) -> torch.optim.Optimizer:
    """AdamW; the norms' weights do not decay. The rate is set at each step."""
    matrices = [weight for weight in model.parameters() if weight.dim() == 2]
    norms = [weight for weight in model.parameters() if weight.dim() == 1]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": norms, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98), fused=True)


def train(
    model: FastModel, batches: Sequence[Batch], recipe: Recipe, seed: int, say: Callable[[str], None]
) -> list[float]:
    """Trains the model in place; returns the loss of every step."""
    rng = random.Random(f"positions {seed}")
    optimizer = make_optimizer(model, recipe.weight_decay)
    progress = Progress(len(batches), say)
    losses = []
    for step, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, len(batches), recipe.warm_up, recipe.peak_rate)
        positions_S = None
        if batch.may_stretch and rng.random() < recipe.stretched:
            positions_S = stretched_positions(batch.tokens_BS.shape[1], model.model.config.max_seq_len, rng)
        loss, balance, n_layers = batch_losses(model, batch, positions_S)
        (loss + recipe.balance * n_layers * balance).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        progress.step(step, losses[-1], balance.item(), batch.n_tokens)
    return losses


def train_flavours(out: Path, seed: int, say: Callable[[str], None]) -> None:
    """Trains both flavours, writes them to `out`, and says what they can do."""
    model = FastModel.untrained(TINY, seed)
    with tempfile.TemporaryDirectory() as scratch:
        tokenizer_file = Path(scratch) / "tokenizer.model"
        train_tokenizer(tokenizer_file, seed)
        tokenizer = Tokenizer(tokenizer_file)
        for flavour, recipe in RECIPES.items():
            started = time.monotonic()
            examples = [encode(row, tokenizer) for row in rows(flavour, seed, recipe.n_words)]
            batches = pack(examples, seed, recipe.rows_per_batch, recipe.tokens_per_batch)
            n_tokens = sum(batch.n_tokens for batch in batches)
            say(f"{flavour}: {len(examples)} rows, {n_tokens / 1e6:.2f} M tokens, {len(batches)} steps")
            losses = train(model, batches, recipe, seed, say)
            final = sum(losses[-100:]) / len(losses[-100:])
            say(f"{flavour}: trained in {(time.monotonic() - started) / 60:.1f} min, loss at the end {final:.3f}")
            # What is rounded is what is measured, written, and, for the base flavour, trained further.
            round_to_bf16(model)
            report(model, tokenizer, flavour, say)
            write_checkpoint(model.model, tokenizer_file, out / FOLDERS[flavour])
