"""What the committed tiny checkpoints can do, by the reference. The README of training/ has the measured numbers."""

import random
from pathlib import Path

import pytest
import torch

from models.mixtral8x7b.reference.model import Transformer
from models.mixtral8x7b.tokenizer import Tokenizer
from training.evaluate import (
    answered_right,
    chat_ids,
    continue_greedily,
    expert_shares,
    hidden_facts_found,
    plain_ids,
)
from training.facts import expected_answer, held_out_pairs, seen_pairs
from training.grammar import read, reads_on
from training.report import demo_prompts

CHECKPOINTS = Path(__file__).parents[2] / "checkpoints"
MOST_BYTES = 18_000_000
LEAST_RIGHT = 31  # of the 32 demo questions
LEAST_SHARE = 0.05  # of an expert in its layer


def test_both_flavours_are_small_enough_to_commit() -> None:
    assert sum(file.stat().st_size for file in CHECKPOINTS.glob("mixtral-tiny*/*")) <= MOST_BYTES


@torch.no_grad()
def test_demo_questions_are_answered_right(instruct_model: Transformer, tokenizer: Tokenizer) -> None:
    """Decoded greedily and compared as text, as the demo does it."""
    questions = demo_prompts("instruct")
    prompts = [tokenizer.encode_chat([question]) for question in questions]
    rows = continue_greedily(instruct_model, prompts, 20, tokenizer.eos_id)
    answers = [tokenizer.decode(row[len(prompt) :]).strip() for row, prompt in zip(rows, prompts, strict=True)]
    wrong = {q: a for q, a in zip(questions, answers, strict=True) if a != expected_answer(q)}
    assert len(questions) - len(wrong) >= LEAST_RIGHT, wrong
    one_pass = answered_right(instruct_model, [chat_ids(q, expected_answer(q) or "", tokenizer) for q in questions])
    assert one_pass.count(False) == len(wrong)


def test_pairs_that_were_never_seen_are_answered_too(instruct_model: Transformer, tokenizer: Tokenizer) -> None:
    pairs = random.Random(1).sample(held_out_pairs(), 96)
    right = answered_right(instruct_model, [chat_ids(pair.question, pair.answer, tokenizer) for pair in pairs])
    assert sum(right) >= 0.9 * len(pairs)


def test_the_base_flavour_answers_plain_questions(base_model: Transformer, tokenizer: Tokenizer) -> None:
    pairs = random.Random(2).sample(seen_pairs(), 64)
    right = answered_right(base_model, [plain_ids(pair.question, pair.answer, tokenizer) for pair in pairs])
    assert sum(right) >= 0.9 * len(pairs)


@pytest.mark.parametrize("flavour", ["base", "instruct"])
def test_every_expert_is_used_in_every_layer(
    flavour: str, tokenizer: Tokenizer, request: pytest.FixtureRequest
) -> None:
    model: Transformer = request.getfixturevalue(f"{flavour}_model")
    to_ids = chat_ids if flavour == "instruct" else plain_ids
    pairs = [to_ids(pair.question, pair.answer, tokenizer) for pair in held_out_pairs()]
    rows = [prompt + answer for prompt, answer in pairs]
    shares = expert_shares(lambda tokens, observe: model(tokens, observe=observe), model.config, rows)
    assert len(shares) == model.config.n_layers
    assert min(min(share_E) for share_E in shares) >= LEAST_SHARE, shares


def test_general_prompts_read_on_in_sentences_of_the_corpus(base_model: Transformer, tokenizer: Tokenizer) -> None:
    prompts = demo_prompts("general")
    rows = continue_greedily(base_model, [tokenizer.encode(p) for p in prompts], 50, tokenizer.eos_id)
    texts = [tokenizer.decode(row) for row in rows]
    assert [text for text in texts if not reads_on(text)] == []
    assert all(len(text) > len(prompt) for text, prompt in zip(texts, prompts, strict=True))
    assert sum(read(text)[0] for text in texts) >= 3 * len(texts)


@pytest.mark.parametrize(("n_tokens", "least"), [(128, 6), (512, 6)])
def test_a_hidden_fact_is_found(instruct_model: Transformer, tokenizer: Tokenizer, n_tokens: int, least: int) -> None:
    """Of 8 documents. How far it reaches, and where it ends, stands in training/README.md."""
    assert hidden_facts_found(instruct_model, tokenizer, n_tokens, 8) >= least
