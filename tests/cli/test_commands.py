"""Commands that bring a checkpoint to the chips, and how mistakes are told.

.venv/bin/python -m pytest tests/cli/test_commands.py
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from models.mixtral8x7b.checkpoint.repacked import RepackedCheckpoint
from tests.cli.conftest import Run

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "checkpoints" / "mixtral-tiny"
COMMANDS = ["plan", "download", "repack", "warm-up", "generate", "chat", "serve", "bench", "cost", "first-light"]


def test_the_help_of_all_commands_imports_no_torch() -> None:
    code = (
        "import sys\n"
        "from models.mixtral8x7b.cli.__main__ import main\n"
        f"for command in {COMMANDS!r}:\n"
        "    sys.argv = ['mixtral', command, '--help']\n"
        "    main()\n"
        "heavy = {'torch', 'numpy', 'ttnn', 'ttnn_cpu', 'loguru', 'huggingface_hub', 'tokenizers'}\n"
        "print('imported:', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("imported: []\n")
    assert done.stdout.count("Usage: mixtral ") == len(COMMANDS)


def test_without_a_command_the_help_is_shown_and_it_is_no_success(mixtral: Run) -> None:
    done = mixtral()
    assert (done.code, done.out) == (2, "")
    assert all(f"  {command} " in done.err for command in COMMANDS)


WRONG_USE = {
    ("fly",): "no such command 'fly'",
    ("plan",): "missing argument 'DIR'",
    ("plan", "a", "b"): "got unexpected extra argument",
    ("plan", "a", "--users", "many"): "invalid value for '--users': Input should be a valid integer",
    ("plan", "a", "--users"): "option '--users' requires an argument",
    ("plan", "a", "--fast"): "no such option: --fast",
    ("repack", "a"): "expected path_to_checkpoint_dir and repacked_output_dir",
    ("repack", "a", "b", "--verify"): "--verify takes the repacked directory alone",
    ("download", "a/b"): "missing argument 'DIR'",
    ("cost", "--batch", "33"): "--batch is 33; expected at most 32, the rows of a step",
    ("cost", "--context", "no"): "--context is 'no'; expected whole numbers of at least 1",
    ("cost", "--precision", "best"): "--precision is 'best'; expected one of performance, accuracy, mixed, bfp4, all",
    ("cost", "--plot", "a.png"): "--plot is a.png; expected a name that ends with .svg",
    ("serve", "--host", "0.0.0.0"): "--host is 0.0.0.0, where others can reach it, and there is no key",
    ("serve", "--host", "::"): "--host is ::, where others can reach it, and there is no key",
    ("serve", "--api-key", "a", "--api-key-file", "b"): "--api-key and --api-key-file are both given",
    ("serve", "--api-key", "a b"): "the key of --api-key is empty or no key",
}


@pytest.mark.parametrize(
    ("arguments", "message"), WRONG_USE.items(), ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_wrong_use_is_one_sentence(mixtral: Run, arguments: tuple[str, ...], message: str) -> None:
    done = mixtral(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.sentence.startswith(f"mixtral: {message}")
    assert done.sentence.endswith("; see --help")


MISTAKES = {
    ("plan", "nowhere"): "nowhere has neither params.json nor config.json",
    ("plan", TINY, "--users", 0): "--users and --context must be at least 1",
    ("plan", TINY, "--chips", 3): "--users and --context must be at least 1, --chips 1, 2, 4 or 8",
    ("plan", TINY, "--stages", 4): "--stages is 4; expected 1 to 3, the number of layers",
    ("plan", TINY, "--precision", "best"): "precision is 'best'; expected one of performance, accuracy",
    ("plan", TINY, "--context", 99999): "a context of 99999 tokens is too long",
    ("cost", "--chips", 3): "--chips is 3; expected 1, 2, 4 or 8",
    ("cost", "--context", 99999): "a context of 99999 tokens is too long",
    ("cost", "--fabric", "star"): "star",
    ("repack", "nowhere", "out"): "nowhere is not a directory",
    ("repack", "--verify", TINY): "mixtral-tiny is not a repacked checkpoint",
    ("download", "a/b/c", "out"): "'a/b/c' cannot be a repository; expected owner/name",
    ("warm-up", "--checkpoint", "nowhere"): "nowhere is not a repacked checkpoint",
    ("warm-up", "--checkpoint", "\udcff"): "is not UTF-8; expected a path that is",
    ("warm-up", "--target", "gpu"): "target is 'gpu'; expected one of cpu, mock, sim, device",
    ("warm-up", "--chips", 3): "3 chips; expected one of 1, 2, 4, 8",
    ("warm-up", "--fabric", "star"): "the fabric is 'star'; expected one of",
}


@pytest.mark.parametrize(("arguments", "message"), MISTAKES.items(), ids=lambda value: str(value))
def test_a_mistake_is_one_sentence(mixtral: Run, arguments: tuple[object, ...], message: str) -> None:
    done = mixtral(*arguments)
    assert (done.code, done.out) == (1, "")
    assert done.sentence.startswith("mixtral: ")
    assert message in done.sentence


def test_a_checkpoint_on_its_way_to_the_chips(mixtral: Run, tmp_path: Path) -> None:
    planned = mixtral("plan", TINY, "--users", 2, "--context", 128)
    assert planned.code == 0
    assert "KV cache of 256 tokens" in planned.out
    assert planned.out.count("modelled, not measured: ") == 2
    assert "tokens/s/user" in planned.out
    repacked = mixtral("repack", TINY, "out")
    assert (repacked.code, repacked.err) == (0, "")
    assert RepackedCheckpoint(tmp_path / "out").flavour == "base"
    assert mixtral("repack", "--verify", "out").out == "out: all 96 tensors are as written\n"
    filled = mixtral("warm-up", "--checkpoint", "out")
    assert (filled.code, filled.err) == (0, "")
    assert filled.out.startswith("out/mixtral_tensor_cache_bfp8: ")
    assert mixtral("warm-up", "--checkpoint", "out", "--cache-only").code == 0
    (tmp_path / "out" / "globals.safetensors").write_bytes(b"")
    assert "globals.safetensors is wrong" in mixtral("repack", "--verify", "out").err


def test_a_plan_of_one_of_two_stages(mixtral: Run, tmp_path: Path) -> None:
    """Mixtral 8x22B, which one T3000 does not hold."""
    moe = {"num_experts": 8, "num_experts_per_tok": 2}
    sizes = {"dim": 6144, "n_layers": 56, "head_dim": 128, "hidden_dim": 16384, "n_heads": 48, "n_kv_heads": 8}
    params = {**sizes, "moe": moe, "norm_eps": 1e-5, "vocab_size": 32768, "max_seq_len": 65536}
    (tmp_path / "params.json").write_text(json.dumps(params))
    asked = ("plan", tmp_path, "--users", 8, "--context", 8192)
    whole, stage = mixtral(*asked), mixtral(*asked, "--stages", 2)
    assert whole.code == 1
    assert "GB too many for each of 8 chips; " in whole.sentence
    assert "mixtral plan --stages" in whole.sentence
    assert (stage.code, stage.err) == (0, "")
    assert stage.out.startswith("one of 2 stages, with 28 of 56 layers, for 2 groups of 8 users")
    assert "KV cache of 131,072 tokens" in stage.out
    (modelled,) = [line for line in stage.out.splitlines() if line.startswith("modelled, not measured: ")]
    assert "tokens/s/user" in modelled
    assert "a hand-over 1.44 ms" in modelled


def test_without_a_checkpoint_it_is_the_tiny_instruct_one(mixtral: Run) -> None:
    done = mixtral("warm-up", "--precision", "accuracy")
    assert done.code == 0
    assert "/mixtral-tiny-instruct-" in done.out
