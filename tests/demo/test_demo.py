"""The demo as a user sees it: what it prints, and one sentence for each mistake.

.venv/bin/python -m pytest tests/demo
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from demo.__main__ import main
from demo.prompts import INPUTS, load_prompts
from models.mixtral8x7b.checkpoint.tiny import CHECKPOINTS, tiny_checkpoint
from models.mixtral8x7b.tokenizer import Tokenizer
from tests.thresholds import RIGHT_ANSWERS
from training.facts import expected_answer


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("user cache")


@pytest.fixture
def run(cache: Path, monkeypatch, capsys):
    """Types a demo command; returns (what it printed, its message if it failed)."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    for variable in ("MIXTRAL_CKPT_DIR", "MIXTRAL_TOKENIZER_PATH", "MIXTRAL_CACHE_PATH", "MIXTRAL_TARGET"):
        monkeypatch.delenv(variable, raising=False)

    def run(*arguments: object) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["demo", *map(str, arguments)])
        try:
            main()
        except SystemExit as stop:
            return capsys.readouterr().out, str(stop.code)
        return capsys.readouterr().out, ""

    return run


def blocks_of(printed: str) -> dict[int, tuple[str, str]]:
    """{user: (prompt, answer)}"""
    found = re.findall(r"^User (\d+): (.*)\nAnswer: (.*)$", printed, re.MULTILINE)
    return {int(number): (prompt, answer) for number, prompt, answer in found}


def test_make_demo_answers_32_questions(run) -> None:
    printed, failure = run()
    assert failure == ""
    blocks = blocks_of(printed)
    questions = load_prompts(INPUTS / "instruct.json")
    assert [blocks[user][0] for user in range(1, 33)] == questions
    right = int(re.search(r"Exactly right +(\d+) of 32", printed)[1])  # type: ignore[index]
    assert right >= RIGHT_ANSWERS
    assert sum(blocks[user][1] == expected_answer(blocks[user][0]) for user in blocks) == right
    head = printed.splitlines()[0]
    for part in ("target cpu", "upper bound", "mixtral-tiny-instruct", "parameters", "precision performance"):
        assert part in head
    assert "not what Mixtral or a T3000 does" in printed.splitlines()[1]
    for unit in (" s\n", "ms/step", "tokens/s/user", "tokens of 32 users"):
        assert unit in printed
    assert "\x1b" not in printed


@pytest.mark.parametrize("preset", ["accuracy", "mixed", "bfp4"])
def test_the_other_presets_answer_too(run, preset: str) -> None:
    printed, _ = run("--precision", preset)
    assert int(re.search(r"Exactly right +(\d+) of 32", printed)[1]) >= RIGHT_ANSWERS  # type: ignore[index]


@pytest.mark.parametrize("prefill", [0, 9])
def test_pushing_prompts_through_decode_gives_the_same_answers(run, prefill: int) -> None:
    """With rounding on the two ways differ in the last bits, so a few words may; most answers must be the same."""
    whole, pushed = blocks_of(run()[0]), blocks_of(run("--prefill", prefill)[0])
    assert sum(whole[user] == pushed[user] for user in whole) >= 31


def test_other_meshes_give_the_same_answers(run) -> None:
    answers = [
        blocks_of(run("--users", 2, "--max-new-tokens", 12, *options)[0])
        for options in ((), ("--chips", 1), ("--chips", 2, "--fabric", "line"))
    ]
    assert answers[0] == answers[1] == answers[2]
    assert answers[0][2] == ("What is the capital city of France?", "The capital of France is Paris.")


def test_fewer_prompts_than_users_are_repeated(run, tmp_path: Path) -> None:
    file = tmp_path / "two.json"
    file.write_text(
        json.dumps([{"prompt": "What is the capital of Japan?"}, {"prompt": "What is the opposite of hot?"}])
    )
    blocks = blocks_of(run("--prompts", file, "--users", 5, "--max-new-tokens", 20)[0])
    assert [blocks[user] for user in (3, 5)] == [blocks[1]] * 2
    assert blocks[4] == blocks[2]
    assert len(blocks) == 5


def test_more_prompts_than_users_and_every_end_token(run, cache: Path, monkeypatch, tmp_path: Path) -> None:
    """The period is named as an end token: answers end there, where they went on to EOS."""
    repacked = tmp_path / "repacked"
    shutil.copytree(
        tiny_checkpoint("instruct", cache / "mixtral8x7b-ttnn"), repacked, ignore=shutil.ignore_patterns("*_cache_*")
    )
    monkeypatch.setenv("MIXTRAL_CKPT_DIR", str(repacked))
    monkeypatch.setenv("MIXTRAL_CACHE_PATH", str(tmp_path / "device"))
    questions = [{"prompt": "What is the capital of Japan?"}, {"prompt": "What is the capital of France?"}]
    (tmp_path / "three.json").write_text(json.dumps([*questions, {"prompt": "Who?"}]))
    options = ("--prompts", tmp_path / "three.json", "--users", 2, "--max-new-tokens", 20)
    printed = run(*options)[0]
    assert f"1 of the 3 prompts in {tmp_path / 'three.json'} is left out, from the end: 2 users ask one" in printed
    answers = {user: answer for user, (_, answer) in blocks_of(printed).items()}
    assert answers == {1: "The capital of Japan is Tokyo.", 2: "The capital of France is Paris."}
    paris = Tokenizer(repacked).encode(" is Paris", bos=False)
    (repacked / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, paris[-1]]}))
    printed = run(*options)[0]
    assert re.search(r"^Answer: The capital of Japan is Tokyo.$", printed, re.MULTILINE)
    assert re.search(r"^Answer: The capital of France is P\w*$", printed, re.MULTILINE)
    shutil.rmtree(repacked)
    assert run(*options)[0].split("User 1")[1].split("Weights")[0] == printed.split("User 1")[1].split("Weights")[0]


def test_checkpoint_variables_and_another_flavour(run, cache: Path, monkeypatch, tmp_path: Path) -> None:
    """The manifest decides about weights and cache folder; prompts of the other flavour get a warning."""
    from loguru import logger

    repacked = tmp_path / "with spaces"
    shutil.copytree(tiny_checkpoint("base", cache / "mixtral8x7b-ttnn"), repacked)
    (repacked / "tokenizer.model").rename(tmp_path / "elsewhere.model")
    monkeypatch.setenv("MIXTRAL_CKPT_DIR", str(repacked))
    monkeypatch.setenv("MIXTRAL_CACHE_PATH", str(tmp_path / "device"))
    assert "tokenizer.model is missing" in run("--users", 2)[1]
    monkeypatch.setenv("MIXTRAL_TOKENIZER_PATH", str(tmp_path / "elsewhere.model"))
    warnings: list[str] = []
    sink = logger.add(lambda message: warnings.append(str(message)))
    printed, failure = run("--users", 2, "--max-new-tokens", 3)
    logger.remove(sink)
    assert failure == ""
    assert "(base, " in printed
    assert "is the base flavour; the prompts are for instruct" in warnings[0]
    assert (tmp_path / "device" / "mixtral_tensor_cache_bfp8" / "weight_cache.json").is_file()


def test_warm_up_fills_the_cache_and_then_the_checkpoint_may_go(run, cache: Path, monkeypatch, tmp_path: Path) -> None:
    repacked = tmp_path / "repacked"
    shutil.copytree(
        tiny_checkpoint("instruct", cache / "mixtral8x7b-ttnn"), repacked, ignore=shutil.ignore_patterns("*_cache_*")
    )
    monkeypatch.setenv("MIXTRAL_CKPT_DIR", str(repacked))
    monkeypatch.setenv("MIXTRAL_CACHE_PATH", str(tmp_path / "device"))
    filled = tmp_path / "device" / "mixtral_tensor_cache_instruct_bfp8"
    refused = run("--cache-only")[1]
    assert re.search(
        rf"^demo: {filled}/.*\.tensorbin is missing; start without --cache-only to make it again$", refused
    )
    printed, failure = run("--warm-up")
    assert failure == ""
    pattern = rf"^{filled}: \d+ files, \d.\d MB; those for precision performance are whole and checked, in "
    assert re.search(pattern, printed)
    assert "Answer" not in printed
    answered = blocks_of(run("--cache-only")[0])
    shutil.rmtree(repacked)
    assert blocks_of(run()[0]) == answered
    assert len(answered) == 32
    assert "is not in the weight cache" in run("--precision", "accuracy")[1]
    shutil.rmtree(filled)
    assert f"{repacked} is not a repacked checkpoint" in run()[1]
    assert run("--warm-up", "--users", 3)[1] == "2"  # argparse has said why


def test_a_repacked_directory_of_another_vocabulary(run, cache: Path, monkeypatch, tmp_path: Path) -> None:
    import mistral_common

    foreign = Path(mistral_common.__file__).parent / "data" / "tokenizer.model.v1"
    monkeypatch.setenv("MIXTRAL_TOKENIZER_PATH", str(foreign))
    assert "has 32000 pieces; the model has a vocabulary of 1024" in run()[1]


MISTAKES = {
    ("--users", 0): "0 users; expected 1 to 32",
    ("--users", 33): "33 users; expected 1 to 32",
    ("--max-new-tokens", 128): "128 new tokens; expected 1 to 127",
    ("--max-new-tokens", 0): "0 new tokens; expected 1 to 127",
    ("--context", 40000, "--users", 1): "a context of 40000 tokens is too long; this model was made for 32768",
    ("--context", 500): "500 is no context of the original demo, so --users must be given",
    ("--precision", "best"): "precision is 'best'; expected one of performance, accuracy, mixed, bfp4",
    ("--target", "gpu"): "target is 'gpu'; expected one of cpu, mock, sim, device",
    ("--target", "device"): "cannot use target device: the CPU backend is already imported",
    ("--prompts", "nowhere.json"): "cannot read the prompts file nowhere.json: No such file",
    ("--prefill", -1): "prefill is -1",
    ("--context", 0, "--users", 1): "a context of 0 tokens; expected at least 2",
    ("--max-new-tokens", 125): "leave no room for a prompt",
}


@pytest.mark.parametrize(("arguments", "message"), MISTAKES.items(), ids=lambda value: str(value))
def test_a_mistake_gets_one_sentence(run, arguments: tuple, message: str) -> None:
    _, failure = run(*arguments)
    assert failure.startswith("demo: ")
    assert message in failure
    assert "\n" not in failure


@pytest.mark.parametrize(
    ("option", "sentence"),
    [(["--users", "99"], "99 users; expected 1 to 32"), (["--chips", "3"], "3 chips; expected one of 1, 2, 4, 8")],
    ids=["in the demo", "in what it stands on"],
)
def test_under_pytest_a_mistake_is_one_sentence_too(option: list[str], sentence: str, cache: Path) -> None:
    ids = "demo/demo_with_prefill.py::test_mixtral8x7b_demo[wormhole_b0-True-128-instruct]"
    command = [sys.executable, "-m", "pytest", "--target", "cpu", "-p", "no:cacheprovider", ids, *option]
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert sentence in done.stdout
    assert "Traceback" not in done.stdout
    assert "During handling" not in done.stdout
    assert "run_demo" not in done.stdout


def test_a_directory_that_is_not_repacked_gives_the_command(run, monkeypatch) -> None:
    monkeypatch.setenv("MIXTRAL_CKPT_DIR", str(CHECKPOINTS / "mixtral-tiny-instruct"))
    assert "is not a repacked checkpoint" in run()[1]
    assert "scripts/repack_weights.py <path_to_checkpoint_dir>" in run()[1]


def test_the_warm_up_goes_on_from_its_cache_when_the_repacked_weights_are_gone(cache: Path, tmp_path: Path) -> None:
    """It then says that the comparison was left out; with neither weights nor cache it fails."""
    repacked, ids = tmp_path / "repacked", "tests/test_mixtral_model.py::test_mixtral_model_inference"
    shutil.copytree(tiny_checkpoint("instruct", cache / "mixtral8x7b-ttnn"), repacked)
    environment = os.environ | {"MIXTRAL_CKPT_DIR": str(repacked), "MIXTRAL_CACHE_PATH": str(tmp_path / "device")}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--target",
        "cpu",
        "-p",
        "no:cacheprovider",
        f"{ids}[wormhole_b0-True-32]",
    ]

    def run() -> subprocess.CompletedProcess:
        root = Path(__file__).parents[2]
        return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)

    assert "comparison" not in run().stdout
    for file in repacked.glob("*.safetensors"):
        file.unlink()
    gone = run()
    assert gone.returncode == 0
    assert "the comparison with the reference was left out" in gone.stdout
    shutil.rmtree(tmp_path / "device")
    assert run().returncode == 1
