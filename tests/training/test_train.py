import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.mixtral8x7b.checkpoint.repack import repack
from models.mixtral8x7b.config import MixtralConfig, MoeConfig
from models.mixtral8x7b.reference.model import Transformer
from models.mixtral8x7b.tokenizer import Tokenizer
from training.batches import GIVEN_WEIGHT, Batch, encode, pack
from training.checkpoint import N_FILES, write_checkpoint
from training.corpus import Row, rows
from training.fast_model import FastModel, round_to_bf16
from training.loop import RECIPES, load_balancing_loss, stretched_positions, train
from training.schedule import learning_rate

SMALL = MixtralConfig(
    dim=32, n_layers=2, head_dim=8, hidden_dim=16, n_heads=4, n_kv_heads=2, norm_eps=1e-5, vocab_size=1024,
    moe=MoeConfig(num_experts=4, num_experts_per_tok=2), max_seq_len=4096,
)  # fmt: skip


@pytest.fixture(scope="module")
def batches(tokenizer: Tokenizer) -> list[Batch]:
    return pack([encode(row, tokenizer) for row in rows("instruct", 3, 8000)], 3, 32, 1024)


def train_small(batches: list[Batch]) -> tuple[FastModel, list[float], list[str]]:
    lines: list[str] = []
    model = FastModel.untrained(SMALL, seed=5)
    recipe = replace(RECIPES["instruct"], peak_rate=1e-2, warm_up=3)
    return model, train(model, batches[:16], recipe, 5, lines.append), lines


def test_a_few_steps_reduce_the_loss_and_are_repeatable(batches: list[Batch]) -> None:
    _, losses, lines = train_small(batches)
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])
    assert train_small(batches)[1] == losses
    assert "step 16/16" in lines[-1]


def test_fast_model_equals_the_reference() -> None:
    fast, slow = FastModel.untrained(SMALL, seed=1), Transformer(SMALL)
    tokens = torch.randint(0, SMALL.vocab_size, (2, 33), generator=torch.Generator().manual_seed(0))
    slow.load_state_dict(fast.model.state_dict())
    expected = slow(tokens)
    assert (fast(tokens) - expected).abs().max() < 1e-5 * expected.abs().max()


def test_a_checkpoint_loads_as_it_was_written(tmp_path: Path, tokenizer: Tokenizer) -> None:
    fast = FastModel.untrained(SMALL, seed=2)
    round_to_bf16(fast)
    write_checkpoint(fast.model, tokenizer.file, tmp_path / "source")
    assert len(list((tmp_path / "source").glob("consolidated.*.pt"))) == N_FILES
    first = torch.load(tmp_path / "source" / "consolidated.00.pt", weights_only=True)
    assert all(value.dtype == torch.bfloat16 for value in first.values())
    assert all(value.untyped_storage().nbytes() == value.nbytes for value in first.values())
    repack(tmp_path / "source", tmp_path / "repacked")
    loaded = Transformer.from_repacked(tmp_path / "repacked").state_dict()
    assert all(torch.equal(loaded[name], weight) for name, weight in fast.model.state_dict().items())


def test_conversations_have_bos_once_and_eos_after_each_answer(tokenizer: Tokenizer) -> None:
    turns = ("What does a cow say?", "A cow says moo.", "Add 1 and 2.", "1 plus 2 is 3.")
    example = encode(Row("conversation", turns, is_chat=True), tokenizer)
    assert example.ids == [*tokenizer.encode_chat(turns[:3]), *tokenizer.encode(turns[3], bos=False), tokenizer.eos_id]
    counted = [i for i, weight in zip(example.ids, example.weights, strict=True) if weight != GIVEN_WEIGHT]
    assert tokenizer.decode(counted) == "A cow says moo. 1 plus 2 is 3."


def test_plain_turns_are_encoded_as_one_text(tokenizer: Tokenizer) -> None:
    for row in rows("base", 3, 5000):
        example = encode(row, tokenizer)
        assert example.ids == [*tokenizer.encode(row.text), tokenizer.eos_id]
        counted = [i for i, weight in zip(example.ids, example.weights, strict=True) if weight != GIVEN_WEIGHT]
        assert tokenizer.decode(counted) == "".join(row.turns[1::2]).strip()


def test_batches_hold_every_row_once(tokenizer: Tokenizer, batches: list[Batch]) -> None:
    examples = [encode(row, tokenizer) for row in rows("instruct", 3, 8000)]
    packed = [
        tuple(tokens[is_real].tolist())
        for batch in batches
        for tokens, is_real in zip(batch.tokens_BS, batch.is_real_BS, strict=True)
    ]
    assert sorted(packed) == sorted(tuple(example.ids) for example in examples)
    assert all(batch.tokens_BS.shape[0] == 1 or batch.tokens_BS.numel() <= 1024 for batch in batches)


def test_balance_is_1_for_equal_use_and_more_otherwise() -> None:
    # Token n prefers experts n and n + 1, around the circle of 4.
    equal = 5.0 * (torch.eye(4) + torch.eye(4).roll(1, 1))
    real = torch.ones(4, dtype=torch.bool)
    assert load_balancing_loss(equal, real, SMALL).item() == pytest.approx(1)
    assert load_balancing_loss(equal[:1].expand(4, 4), real, SMALL).item() > 1.5
    assert load_balancing_loss(equal, torch.tensor([True, False, False, False]), SMALL).item() > 1.5


def test_stretched_positions_rise_and_stay_in_range() -> None:
    rng = random.Random(0)
    last = []
    for n in (2, 50, 900):
        for _ in range(50):
            positions = stretched_positions(n, 1000, rng)
            assert positions[0] == 0
            assert (positions.diff() >= 1).all()
            assert positions[-1] < 1000
            last.append(int(positions[-1]))
    assert max(last) > 900


def test_learning_rate_rises_then_falls() -> None:
    rates = [learning_rate(step, 100, 10, 1.0) for step in range(100)]
    assert max(rates) == rates[9] == 1.0
    assert rates[:10] == sorted(rates[:10])
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert rates[-1] < 0.03
