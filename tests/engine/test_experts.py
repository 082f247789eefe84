"""Who asks is told the experts of each token that a step drew; nobody else's answer or step changes for it."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
import torch

from models.mixtral8x7b.engine.model import ExpertSizes
from models.mixtral8x7b.engine.request import Request
from models.mixtral8x7b.engine.stream import Token
from models.mixtral8x7b.host_rows import HostRow, RowParams
from models.mixtral8x7b.reference.router import route
from models.mixtral8x7b.sampling import SamplingParams
from models.mixtral8x7b.tt.engine_model import EngineModel
from models.mixtral8x7b.tt.expert_choices import ExpertChoices
from models.mixtral8x7b.tt.mesh import open_mesh
from tests.engine.driver import Driver
from tests.engine.stub_model import answer, chosen, context_hash
from tests.engine.test_loop import IDS
from tests.engine.test_on_the_model import CONFIG, Answers, build, prompt, read
from tests.tt.cases import exact_mesh, reference

# ---------------------------------------------------------------- the loop


def expected_experts(request: Request, first: int) -> list[object]:
    """Of the tokens from one on: where the one before it was sent."""
    ids = [*request.ids, *answer(request)]
    ends = range(len(request.ids) + first, len(ids))
    return [chosen(context_hash(np.array(ids[:end]))) for end in ends]


def test_each_token_has_those_of_the_step_that_drew_it() -> None:
    """Of 12 requests every third asks; blocks are too few for all, and what comes again begins with a pass again."""
    driver = Driver(n_blocks=20, pass_tokens=256)
    requests = [
        Request(IDS[: 90 + n], 200, SamplingParams(seed=n), experts=n % 3 == 0, prefill=5 if n == 3 else None)
        for n in range(12)
    ]
    jobs = [driver.add(request) for request in requests]
    driver.run()
    assert driver.loop.stats().preemptions > 0
    n_passes = 0
    for job in jobs:
        assert driver.tokens(job) == answer(job.request)
        found = driver.experts(job)
        if not job.request.experts:
            assert found == [None] * 200
            continue
        n_passes += found.count(None)
        expected = expected_experts(job.request, 0)
        assert found == [told and right for told, right in zip(found, expected, strict=True)]
    assert driver.experts(jobs[0])[0] is None, "a pass drew it"
    assert driver.experts(jobs[3])[0] is not None, "the end of its prompt was fed to steps"
    assert 3 <= n_passes <= 3 + driver.loop.stats().preemptions
    driver.check_idle()


def test_experts_are_read_in_the_steps_of_those_who_ask_only() -> None:
    driver = Driver(200)
    driver.add(Request([1], 20))
    for _ in range(5):
        driver.loop.turn()
    assert driver.model.experts_read == []
    asking = driver.add(Request([2], 4, experts=True))
    driver.run()
    assert driver.model.experts_read == [[1]] * 3, "of its row alone"
    assert driver.experts(asking) == [None, *expected_experts(asking.request, 1)]


# ---------------------------------------------------------------- the model


@cache
def routed(ids: tuple[int, ...]) -> torch.Tensor:
    """The reference's choices at every position, [layers, positions, per token]."""
    logits: dict[str, torch.Tensor] = {}
    reference(CONFIG)(torch.tensor([ids]), observe=logits.__setitem__)
    names = [f"layers.{layer}.feed_forward.router_logits" for layer in range(CONFIG.n_layers)]
    return torch.stack([route(logits[name], CONFIG.moe)[1].view(len(ids), -1) for name in names])


def run(model: EngineModel, requests: Sequence[Request]) -> list[list[Token]]:
    of = Answers(model)
    streams = [of.arrive(request)[1] for request in requests]
    of.run()
    return [read(stream) for stream in streams]


@pytest.mark.parametrize(("trace", "warm"), [(False, False), (True, False), (True, True)])
def test_experts_are_the_references(trace: bool, warm: bool) -> None:
    """Beside one that does not ask; a row that the host draws as well, and one that stays when the others have gone."""
    prompts = [prompt(length, length) for length in (5, 70, 33)]
    host = HostRow(RowParams(logprobs=1), prompts[0], CONFIG.vocab_size)
    with exact_mesh(1) as mesh:
        model = EngineModel(build(mesh, n_blocks=8, notes_experts=True), trace, warm)
        assert model.experts == ExpertSizes(CONFIG.n_layers, 8, 2)
        found = run(
            model,
            [
                Request(prompts[0], 3, host_row=host, experts=True),
                Request(prompts[1], 5, experts=True),
                Request(prompts[2], 7),
            ],
        )
    for ids, tokens in zip(prompts[:2], found[:2], strict=True):
        right = routed((*ids, *(token.id for token in tokens)))[:, len(ids) : -1].transpose(0, 1).tolist()
        assert [token.experts for token in tokens] == [None, *right]
    assert {token.experts for token in found[2]} == {None}


def test_one_that_needs_no_pass_comes_while_the_plain_step_is_recorded() -> None:
    """The other step is then built, and must not be while a recording lives that was not warmed up for it."""
    ids = prompt(5, 5)
    with exact_mesh(1) as mesh:
        of = Answers(EngineModel(build(mesh, n_blocks=8, notes_experts=True), trace=True, warm=False))
        plain = of.arrive(Request(prompt(33, 33), 12))[1]
        for _ in range(4):
            assert of.loop.turn()
        asking = of.arrive(Request(ids, 3, prefill=0, experts=True))[1]
        of.run()
    tokens = read(asking)
    right = routed((*ids, *(token.id for token in tokens)))[:, len(ids) - 1 : -1].transpose(0, 1).tolist()
    assert [token.experts for token in tokens] == right
    assert len(read(plain)) == 12


def test_whoever_asks_changes_no_bit_and_who_does_not_costs_no_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """With rounding: log-probabilities of drawn tokens are compared, and a sampled neighbour's ids."""
    n_read, read_all = [0], ExpertChoices.read

    def counted(choices: ExpertChoices) -> torch.Tensor:
        n_read[0] += 1
        return read_all(choices)

    monkeypatch.setattr(ExpertChoices, "read", counted)
    ids, other = prompt(70, 1000), Request(prompt(40, 1), 6, SamplingParams(1.0, seed=3))

    def mine(experts: bool) -> Request:
        row = HostRow(RowParams(temperature=1.3, seed=5, logprobs=2), ids, CONFIG.vocab_size)
        return Request(ids, 4, host_row=row, experts=experts)

    with open_mesh(8) as mesh:
        model = EngineModel(build(mesh, notes_experts=True), trace=True, warm=False)
        plain = run(model, [mine(False), other])
        assert n_read == [0]
        asked = run(model, [mine(True), other])
        assert n_read == [3], "a pass drew the first of 4"
    assert [[token._replace(experts=None) for token in tokens] for tokens in asked] == plain
