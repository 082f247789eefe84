"""The demo itself on eight simulated chips: its step is recorded and replayed. Traces need fast dispatch."""

import re

import pytest

from tests.sim.own_process import run


@pytest.mark.router_and_sampler
@pytest.mark.timeout(0)
def test_the_demo_replays_its_step() -> None:
    """300 s: three users, prompts pushed through decode, 8 new tokens each: letter for letter as on the CPU backend."""
    options = ["--users", "3", "--max-new-tokens", "8", "--prefill", "0"]
    printed = run(["-m", "demo", "--target", "sim", *options], MIXTRAL_SIM_DISPATCH="fast")
    found = re.findall(r"^Answer: (.*)$", printed, re.MULTILINE)
    on_cpu = run(["-m", "demo", "--target", "cpu", *options])
    assert len(found) == 3
    assert found == re.findall(r"^Answer: (.*)$", on_cpu, re.MULTILINE)
