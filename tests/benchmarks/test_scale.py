"""The simulation of fleets: times are the cost model's, no question is lost but with its replica, routers do theirs.

.venv/bin/python -m pytest --target cpu tests/benchmarks
"""

from collections import Counter
from collections.abc import Iterator

import pytest

from benchmarks.fleet import POLICIES, Affinity, Chat, Fleet, Replica
from benchmarks.modelled_chips import ModelledChips, Times, modelled_times
from benchmarks.scale import by_arithmetic, figures, saturated
from models.mixtral8x7b.config import MIXTRAL_8X7B
from models.mixtral8x7b.cost import prediction
from models.mixtral8x7b.cost.recording import recorder
from models.mixtral8x7b.packing import pack
from models.mixtral8x7b.paging import Prompt

SMALL = Chat("small", system=192, first=64, further=40, answer=12, turns=3, think_s=0.2)


@pytest.fixture(scope="module")
def times() -> Iterator[Times]:
    with modelled_times("performance") as times:
        yield times


def test_times_are_the_cost_models(times: Times) -> None:
    (of,) = pack([Prompt(0, [1] * 200, range(4)), Prompt(3, [1] * 700, range(4, 15), start=512)])
    with recorder(MIXTRAL_8X7B, "performance", 8, 32768) as programs:
        step = prediction.decode(programs.decode(), programs.load(), 32, 4096)
        one_pass = prediction.prefill([programs.prefill_pass(of)], programs.load())
    assert times.step_s(32, 32 * 4096) == pytest.approx(step.ms.expected / 1e3)
    assert times.step_s(32, 32 * 4200) == times.step_s(32, 32 * 4096) < times.step_s(32, 32 * 4500)
    assert times.pass_s(of) == pytest.approx(one_pass.ms.expected / 1e3)


@pytest.mark.parametrize(("n_prompt", "n_new"), [(128, 32), (1024, 64)])
def test_arithmetic_says_what_the_simulation_does(times: Times, n_prompt: int, n_new: int) -> None:
    assert saturated(times, n_prompt, n_new, 64) == pytest.approx(by_arithmetic(times, n_prompt, n_new), rel=0.3)


def run(times: Times, policy: str, failing: int = 0) -> tuple[Fleet, int]:
    """3 replicas; how many questions were asked."""
    fleet = Fleet(times, 3, POLICIES[policy](), SMALL, chats_per_s=3, seed=4)
    asked: list[int] = []
    policy_of_fleet = fleet._policy
    fleet._policy = lambda session, replicas: asked.append(session) or policy_of_fleet(session, replicas)  # type: ignore[func-returns-value]
    if failing:
        fleet.at(4.0, fleet.fail(range(failing), back_after_s=3.0))
    fleet.run(14.0 if failing else 8.0)
    return fleet, len(asked)


def test_no_question_is_lost(times: Times) -> None:
    fleet, asked = run(times, "least connections")
    still_open = sum(len(replica.open) for replica in fleet.replicas)
    assert len(fleet.told) + still_open == asked > 40
    assert (fleet.lost, fleet.delayed) == ([], 0)
    found = figures(fleet.told, 0, 8)
    assert 0 < found.first_s[0] <= found.first_s[1]
    assert found.per_token_s[0] > times.step_s(1, 1) * 0.99


@pytest.mark.parametrize("policy", POLICIES)
def test_a_replica_that_fails_takes_its_own_and_comes_back(times: Times, policy: str) -> None:
    fleet, routed = run(times, policy, failing=1)
    still_open = sum(len(replica.open) for replica in fleet.replicas)
    assert 0 <= routed - (len(fleet.told) + still_open + len(fleet.lost) + fleet.delayed) == 0
    assert all(when == 4.0 for when in fleet.lost)
    assert fleet.replicas[0].is_alive
    assert fleet.replicas[0].loop.stats().steps > 0, "serves again"


def test_affinity_finds_what_was_said(times: Times) -> None:
    cached = {policy: figures(run(times, policy)[0].told, 0, 8).cached for policy in ("round robin", "affinity")}
    assert cached["affinity"] > cached["round robin"] + 0.1


def test_a_replica_that_goes_moves_its_own_sessions_only(times: Times) -> None:
    replicas, policy = [Replica(number, times) for number in range(10)], Affinity()
    before = [policy(session, replicas) for session in range(1000)]
    left = replicas[:3] + replicas[4:]
    after = [policy(session, left) for session in range(1000)]
    assert all(a is b for a, b in zip(before, after, strict=True) if a is not replicas[3])
    shares = Counter(replica.number for replica in before)
    assert len(shares) == 10
    assert max(shares.values()) < 250


def test_bounded_affinity_passes_a_busy_replica_by(times: Times) -> None:
    replicas, policy = [Replica(number, times) for number in range(4)], Affinity(1.25)
    own = policy(7, replicas)
    own.open.update(object() for _ in range(40))  # type: ignore[misc]
    assert policy(7, replicas) is not own
    assert isinstance(own.chips, ModelledChips)
