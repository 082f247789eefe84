"""The engine over the ttnn model: a request's answer is the reference's, whoever else is there.

.venv/bin/python -m pytest tests/engine/test_on_the_model.py
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.mixtral8x7b.engine.job import Job
from models.mixtral8x7b.engine.loop import Loop
from models.mixtral8x7b.engine.request import Request
from models.mixtral8x7b.engine.stream import Stream, Token
from models.mixtral8x7b.host_rows import HostRow, RowParams
from models.mixtral8x7b.sampling import SamplingParams
from models.mixtral8x7b.tt.engine_model import EngineModel
from models.mixtral8x7b.tt.mesh import Mesh, open_mesh
from models.mixtral8x7b.tt.model import Mixtral
from models.mixtral8x7b.tt.precision import PERFORMANCE
from tests.tt.cases import exact_mesh, random_ids, reference, sliceable_config, weights_of

CONFIG = sliceable_config()
CONTEXT = 512


def build(mesh: Mesh, n_blocks: int = 64, context: int = CONTEXT, notes_experts: bool = False) -> Mixtral:
    weights = weights_of(reference(CONFIG), mesh)
    return Mixtral(weights, mesh, PERFORMANCE, n_blocks, context, notes_experts=notes_experts)


def prompt(length: int, seed: int) -> list[int]:
    return random_ids(CONFIG, length, seed=seed).tolist()


def greedy(ids: Sequence[int], n_new: int) -> list[int]:
    """The reference's answer, computed anew from the whole text for every token."""
    text = list(ids)
    for _ in range(n_new):
        text.append(int(reference(CONFIG)(torch.tensor([text]))[0, -1].argmax()))
    return text[len(ids) :]


class Answers:
    """A loop over the model; `arrive` may be called between turns."""

    def __init__(self, model: EngineModel, pass_tokens: int = 2048, prefix_cache: bool = False) -> None:
        self.loop = Loop(model, pass_tokens, prefix_cache)

    def arrive(self, request: Request) -> tuple[Job, Stream]:
        stream = Stream()
        job = Job(request, stream, 0.0)
        self.loop.add(job)
        return job, stream

    def run(self) -> None:
        while self.loop.turn():
            pass


def read(stream: Stream) -> list[Token]:
    return list(stream)


def answers(model: EngineModel, requests: Sequence[Request], **options: object) -> list[list[int]]:
    of = Answers(model, **options)  # type: ignore[arg-type]
    streams = [of.arrive(request)[1] for request in requests]
    of.run()
    stats = of.loop.stats()
    assert stats.n_waiting == stats.n_prefilling == stats.n_decoding == stats.n_held_blocks == 0
    return [[token.id for token in read(stream)] for stream in streams]


@contextmanager
def exact_model(
    n_devices: int, n_blocks: int = 64, context: int = CONTEXT, trace: bool = True, warm: bool = False
) -> Iterator[EngineModel]:
    with exact_mesh(n_devices) as mesh:
        yield EngineModel(build(mesh, n_blocks, context), trace, warm)


LENGTHS = (1, 63, 65, 128, 129, 300)


@pytest.mark.parametrize(
    ("trace", "warm", "prefix_cache"), [(False, False, False), (True, False, True), (True, True, True)]
)
def test_answers_are_the_references(trace: bool, warm: bool, prefix_cache: bool) -> None:
    prompts = [prompt(length, length) for length in LENGTHS]
    with exact_model(1, n_blocks=24, trace=trace, warm=warm) as model:
        found = answers(model, [Request(ids, 4) for ids in prompts], prefix_cache=prefix_cache)
    assert found == [greedy(ids, 4) for ids in prompts]


def test_answers_of_few_blocks_are_the_references() -> None:
    """Prompts that begin alike and go in chunks, waiting for one another: 8 blocks for 12 requests."""
    shared = prompt(130, 0)
    prompts = [shared + prompt(1 + 9 * n, n) if n % 4 == 0 else prompt(40 + n, n) for n in range(12)]
    with exact_model(1, n_blocks=8) as model:
        of = Answers(model, pass_tokens=256, prefix_cache=True)
        streams = [of.arrive(Request(ids, 3 + n))[1] for n, ids in enumerate(prompts)]
        of.run()
    assert of.loop.stats().cached_tokens > 0
    found = [[token.id for token in read(stream)] for stream in streams]
    assert [len(ids) for ids in found] == [3 + n for n in range(12)]
    for n in (0, 4, 7, 11):
        assert found[n] == greedy(prompts[n], 3 + n)


request_of = st.tuples(st.integers(1, 90), st.integers(1, 9), st.booleans())  # prompt, answer, is it sampled


@pytest.fixture(scope="module")
def rounding_model() -> Iterator[EngineModel]:
    with open_mesh(8) as mesh:
        yield EngineModel(build(mesh), trace=True, warm=False)


@settings(max_examples=3, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(request_of, st.integers(0, 12), st.one_of(st.none(), st.integers(0, 20))), max_size=36),
    st.integers(0, 12),
)
def test_with_rounding_no_neighbour_changes_a_bit(
    rounding_model: EngineModel, others: list[tuple[tuple[int, int, bool], int, int | None]], mine_at: int
) -> None:
    """Log-probabilities of the drawn tokens are compared, under any arrival order and cancellation of others."""
    ids, params = prompt(70, 1000), RowParams(temperature=1.3, seed=2**63 + 5, logprobs=2)

    def mine() -> Request:
        return Request(ids, 8, host_row=HostRow(params, ids, CONFIG.vocab_size))

    alone = Answers(rounding_model)
    expected = alone.arrive(mine())[1]
    alone.run()
    of, jobs = Answers(rounding_model), []
    stream, turns = None, 0
    while stream is None or of.loop.turn() or turns < 21:
        for (length, n_new, is_sampled), at, _ in others:
            if at == turns:
                sampling = SamplingParams(1.0, seed=length) if is_sampled else SamplingParams()
                jobs.append(of.arrive(Request(prompt(length, length), n_new, sampling))[0])
        if turns == mine_at:
            stream = of.arrive(mine())[1]
        for job, (_, _, cancel_at) in zip(jobs, others, strict=False):
            if cancel_at == turns:
                of.loop.cancel(job)
        turns += 1
        if stream is None:
            of.loop.turn()
    assert read(stream) == read(expected)


def test_a_row_that_the_host_draws_is_what_the_chips_draw() -> None:
    """Greedy: the same ids, with neighbours that the chips draw; and the log-probabilities are the reference's."""
    prompts = [prompt(length, length) for length in (5, 70, 130)]
    with exact_model(1) as model:
        host = [HostRow(RowParams(logprobs=1), ids, CONFIG.vocab_size) for ids in prompts]
        requests = [Request(ids, 6, host_row=row) for ids, row in zip(prompts, host, strict=True)]
        requests[1] = replace(requests[1], host_row=None)
        of = Answers(model)
        streams = [of.arrive(request)[1] for request in requests]
        of.run()
        found = [read(stream) for stream in streams]
    for ids, tokens in zip(prompts, found, strict=True):
        answer = [token.id for token in tokens]
        assert answer == greedy(ids, 6)
        if tokens[0].drawn is not None:
            logits = reference(CONFIG)(torch.tensor([ids + answer]))[0, len(ids) - 1 : -1]
            theirs = logits.log_softmax(-1).gather(1, torch.tensor(answer)[:, None])[:, 0]
            mine = torch.tensor([token.drawn.logprob for token in tokens])  # type: ignore[attr-defined]
            torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-4)
    assert [tokens[0].drawn is None for tokens in found] == [False, True, False]


def test_a_prompts_logits_are_the_references() -> None:
    """Beside a prompt that does not ask for them."""
    ids, found = prompt(70, 3), torch.full((70, CONFIG.vocab_size), torch.nan)

    def take(start: int, logits: torch.Tensor) -> None:
        found[start : start + len(logits)] = logits

    with exact_model(1) as model:
        answers(model, [Request(prompt(40, 4), 1), Request(ids, 1, take_prompt_logits=take)])
    expected = reference(CONFIG)(torch.tensor([ids]))[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


def test_a_preempted_request_goes_on_as_if_nothing_had_been() -> None:
    """The younger of two that need 3 blocks each, of 4: its random numbers go on."""
    ids, sampling = prompt(60, 7), SamplingParams(1.0, seed=9)
    with exact_model(1, n_blocks=4, context=256) as model:
        alone = answers(model, [Request(ids, 72, sampling)])
        of = Answers(model)
        older, younger = (of.arrive(one)[1] for one in (Request(prompt(60, 8), 70), Request(ids, 72, sampling)))
        of.run()
    assert of.loop.stats().preemptions == 1
    assert [token.id for token in read(younger)] == alone[0]
    assert [token.id for token in read(older)][:8] == greedy(prompt(60, 8), 8)
