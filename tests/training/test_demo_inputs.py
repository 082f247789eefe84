import json

import pytest

from training.facts import expected_answer, is_held_out
from training.grammar import reads_on
from training.report import DEMO_INPUTS, demo_prompts

N_PROMPTS = 32


@pytest.mark.parametrize("name", ["general", "instruct"])
def test_inputs_are_a_list_of_32_prompts(name: str) -> None:
    entries = json.loads((DEMO_INPUTS / f"{name}.json").read_text(encoding="utf-8"))
    assert len(entries) == N_PROMPTS
    assert all(entry.keys() == {"prompt"} and entry["prompt"].strip() for entry in entries)
    assert len({entry["prompt"] for entry in entries}) == N_PROMPTS


def test_every_instruct_question_has_a_known_answer_and_half_are_held_out() -> None:
    questions = demo_prompts("instruct")
    assert all(expected_answer(question) for question in questions)
    assert sum(is_held_out(question) for question in questions) >= N_PROMPTS // 2


def test_general_prompts_begin_as_the_corpus_does() -> None:
    assert all(reads_on(prompt) for prompt in demo_prompts("general"))
