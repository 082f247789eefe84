"""Faults of chips and machines, each told for what it is, with what to do next. On the cpu target, chips of tests.

.venv/bin/python -m pytest --target cpu tests/first_light/test_faults.py
"""

from pathlib import Path

import pytest

from models.mixtral8x7b.first_light import flow
from models.mixtral8x7b.first_light.verdicts import Result, Verdict
from tests.first_light.light import faulty, light, steps

HANGS_AFTER_S = 8  # a process that works takes 3 s


@pytest.fixture
def no_fallbacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "FALLBACKS", {})


def result_of(folder: Path, fault: str, step: str, chips: int = 2, limit_s: int = 300) -> Result:
    running, _ = light(folder, faulty(fault), steps(step, limit_s=limit_s), chips)
    running.run()
    return running.results[step]


@pytest.mark.usefixtures("no_fallbacks")
def test_a_wrong_value_in_one_operation(tmp_path: Path) -> None:
    found = result_of(tmp_path, "wrong value", "operations")
    assert found.verdict is Verdict.WRONG
    assert found.said.startswith("linear in prefill [1, 1, 128, 256] x [1, 1, 256, 64]: ")
    assert found.said.endswith("; expected all bits equal")
    assert (found.topic, "attach the report" in found.what_to_do) == ("matmul", True)


@pytest.mark.usefixtures("no_fallbacks")
def test_one_chip_that_draws_other_ids(tmp_path: Path) -> None:
    found = result_of(tmp_path, "other ids", "tiny model", chips=4)
    assert found.verdict is Verdict.DISAGREE
    assert found.said == "ids of step 1: chip 1 differs from the others, in 32 of 32 values"
    assert "its board or its links" in found.what_to_do


@pytest.mark.usefixtures("no_fallbacks")
def test_a_hang(tmp_path: Path) -> None:
    found = result_of(tmp_path, "hang", "collectives", limit_s=HANGS_AFTER_S)
    assert found.verdict is Verdict.HANG
    assert found.said.startswith("no end after 8 s while ")  # on a busy machine it may not have come to the fault
    assert "tt-smi -r" in found.what_to_do


@pytest.mark.usefixtures("no_fallbacks")
def test_a_crash_of_the_process(tmp_path: Path) -> None:
    found = result_of(tmp_path, "crash", "collectives")
    assert found.verdict is Verdict.CRASH
    assert "ended by signal SIGSEGV while all_gather of rows, repeat 1 of 10" in found.said
    assert "tt-smi -r" in found.what_to_do


def test_garbage_in_memory(tmp_path: Path) -> None:
    found = result_of(tmp_path, "garbage", "hazards")
    assert found.verdict is Verdict.GARBAGE
    assert found.said.startswith("a pool of keys is not zero where it was zeroed: ")
    assert found.said.endswith(" on chip 0")


def test_a_missing_chip(tmp_path: Path) -> None:
    found = result_of(tmp_path, "missing chip", "chips", chips=8)
    assert (found.verdict, found.said) == (Verdict.MISSING, "7 chips answer; expected 8")
    assert "tt-smi -ls" in found.what_to_do


def test_a_full_disk(tmp_path: Path) -> None:
    running, _ = light(tmp_path, faulty("full disk"), steps("chips", "collectives"))
    running.run()
    assert running.results["chips"].verdict is Verdict.FULL
    assert running.results["chips"].said.startswith("No space left on device")
    assert "make room" in running.results["chips"].what_to_do
    assert (list(running.results), running.stopped_before) == (["chips"], "chips")


def test_a_replay_that_does_nothing_is_done_without(tmp_path: Path) -> None:
    running, said = light(tmp_path, faulty("no trace"), steps("tiny model, traced"))
    running.run()
    found = running.results["tiny model, traced"]
    assert (found.verdict, found.instead) == (Verdict.RIGHT, "trace off for on")
    assert any("tiny model, traced: wrong" in line and "beside eager ones" in line for line in said)
    assert running.machine.trace == "off"
