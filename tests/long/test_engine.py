"""The engine over the trained tiny model, for minutes.

.venv/bin/python -m pytest tests/long/test_engine.py -s
"""

import random
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import pytest

import ttnn_cpu
from demo.prompts import INPUTS, short_prompts
from models.mixtral8x7b.checkpoint.repacked import RepackedCheckpoint
from models.mixtral8x7b.checkpoint.tiny import tiny_checkpoint
from models.mixtral8x7b.engine.engine import Engine, Options
from models.mixtral8x7b.engine.request import Request
from models.mixtral8x7b.engine.stats import Stats
from models.mixtral8x7b.engine.stream import CANCELLED, LENGTH, STOP, Stream
from models.mixtral8x7b.sampling import SamplingParams
from models.mixtral8x7b.tokenizer import Tokenizer
from models.mixtral8x7b.tt.engine_model import EngineModel
from models.mixtral8x7b.tt.mesh import Mesh, open_mesh
from models.mixtral8x7b.tt.model import Mixtral
from models.mixtral8x7b.tt.precision import PERFORMANCE
from models.mixtral8x7b.tt.weight_cache import CheckpointWeights
from training.facts import seen_pairs

CONTEXT = 512


@pytest.fixture(scope="module")
def repacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint("instruct", tmp_path_factory.mktemp("tiny"))


def engine_model(repacked: Path, mesh: Mesh, n_blocks: int) -> EngineModel:
    weights = CheckpointWeights(RepackedCheckpoint(repacked), mesh, None)
    model = Mixtral(weights, mesh, PERFORMANCE, n_blocks, CONTEXT, n_tokens=Tokenizer(repacked).vocab_size)
    return EngineModel(model, trace=True, warm=False, at_once=True)


def answers(model: EngineModel, requests: Sequence[Request], options: Options) -> tuple[list[list[int]], Stats]:
    try:
        with Engine(model, options) as engine:
            streams = [engine.submit(request) for request in requests]
            found = [[token.id for token in stream] for stream in streams]
            return found, engine.stats()
    finally:
        model.release()


@pytest.mark.parametrize("exact", [False, True], ids=["rounding", "exact"])
def test_answers_under_hits_cuts_and_preemption(exact: bool, repacked: Path) -> None:
    """200 random chats that share beginnings, and the demo's questions, beside a few long texts of random ids that
    force preemption. With rounding off nothing changes. With rounding last bits do: of the chats at most 2 answers, of
    the demo's none. (Of texts of random ids, which the model was not trained for, bits decide: they are not asked.)"""
    draw, tokenizer = random.Random(5), Tokenizer(repacked)
    pairs = seen_pairs()
    beginnings = [[text for pair in draw.sample(pairs, 9) for text in (pair.question, pair.answer)] for _ in range(8)]

    def chat() -> list[int]:
        turns = draw.choice(beginnings)[: 2 * draw.choice((0, 5, 9))]
        return tokenizer.encode_chat([*turns, draw.choice(pairs).question])

    hard = [Request([draw.randrange(3, 1000) for _ in range(draw.randint(60, 300))], 160) for _ in range(8)]
    chats = [Request(chat(), 20, stop_ids=tokenizer.stop_ids) for _ in range(200)]
    questions = short_prompts(INPUTS / "instruct.json", 32, 100, True, tokenizer)
    asked = [Request(question.ids, 20, stop_ids=tokenizer.stop_ids) for question in questions]
    requests = [*hard, *chats, *asked]
    with open_mesh(8) as mesh, ttnn_cpu.exact_values() if exact else nullcontext():
        roomy, _ = answers(engine_model(repacked, mesh, 256), requests, Options(prefix_cache=False, pass_tokens=4096))
        tight, stats = answers(engine_model(repacked, mesh, 30), requests, Options(pass_tokens=256))
    assert stats.preemptions > 0
    assert stats.cached_tokens > 0
    differ = [n for n, (a, b) in enumerate(zip(roomy, tight, strict=True)) if a != b]
    of_hard, of_chats = sum(n < 8 for n in differ), sum(8 <= n < 208 for n in differ)
    print(
        f"\n{of_chats} of 200 chats differ, {of_hard} of 8 texts of random ids, {len(differ) - of_chats - of_hard} of "
        f"32 questions; {stats.preemptions} preemptions, {stats.cached_tokens} of {stats.prompt_tokens} prompt tokens "
        "were cached",
        end="",
    )
    assert of_chats <= 2
    assert len(differ) == of_chats + of_hard, "a question of the demo's"
    assert not (exact and differ)


def test_two_thousand_requests(repacked: Path) -> None:
    """Prompts and answers of 1 to 120 tokens together, one in ten cancelled: none lost, none doubled, nothing leaks."""
    draw = random.Random(6)
    n_blocks = 40
    with open_mesh(8) as mesh, Engine(engine_model(repacked, mesh, n_blocks), Options(most_waiting=2000)) as engine:
        streams: list[tuple[Request, Stream, bool]] = []
        for number in range(2000):
            length = draw.randint(1, 119)
            n_new = (
                draw.randint(1, min(24, 120 - length)) if number >= 40 else 150
            )  # those grow till some must give way
            sampling = SamplingParams(0.8, seed=number) if number % 2 else SamplingParams()
            request = Request([draw.randrange(3, 1000) for _ in range(length)], n_new, sampling)
            streams.append((request, engine.submit(request), draw.random() < 0.1))
        for _, stream, is_cancelled in streams:
            if is_cancelled:
                stream.cancel()
        for request, stream, is_cancelled in streams:
            tokens = list(stream)
            assert stream.finish is not None
            assert stream.finish.reason in ((CANCELLED, LENGTH, STOP) if is_cancelled else (LENGTH, STOP))
            assert len(tokens) == stream.finish.n_new
            if stream.finish.reason == LENGTH:
                assert len(tokens) == request.max_new_tokens
        stats = engine.stats()
        assert stats.n_waiting == stats.n_prefilling == stats.n_decoding == stats.n_held_blocks == 0
        assert stats.n_free_blocks + stats.n_cached_blocks == n_blocks
        assert sum(stats.finished.values()) == 2000
        assert stats.preemptions > 0
        print(
            f"\n{stats.steps} steps, {stats.passes} passes, {stats.preemptions} preemptions, {stats.new_tokens} tokens",
            end="",
        )
