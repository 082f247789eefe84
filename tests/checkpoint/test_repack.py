"""The weight pipeline: published forms -> repacked form, and the script.

.venv/bin/python -m pytest tests/checkpoint
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from models.mixtral8x7b.checkpoint.repack import repack
from models.mixtral8x7b.checkpoint.repacked import RepackedCheckpoint
from models.mixtral8x7b.checkpoint.weights import (
    CheckpointError,
    Form,
    export,
    interleave_rotary_rows,
    split_rotary_rows,
)
from tests.tiny_models import contents, write_consolidated, write_hf, write_per_expert

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "repack_weights.py"


@pytest.mark.parametrize("n_files", [1, 2, 8])
def test_every_tensor_survives_bit_for_bit(model, tmp_path: Path, n_files: int) -> None:
    write_consolidated(model, tmp_path / "source", n_files)
    repack(tmp_path / "source", tmp_path / "out", "instruct")
    checkpoint = RepackedCheckpoint(tmp_path / "out")
    weights = model.state_dict()
    assert set(checkpoint.names()) == set(weights)
    for name, value in weights.items():
        assert torch.equal(checkpoint.tensor(name), value.bfloat16()), name
    assert checkpoint.flavour == "instruct"
    assert checkpoint.config == model.config
    assert checkpoint.n_parameters() == sum(w.numel() for w in weights.values())
    # and back: what a consolidated checkpoint is made of, again bit for bit
    exported = dict(export(Form.CONSOLIDATED, model.config, checkpoint.tensor))
    read = [torch.load(file, weights_only=True) for file in sorted((tmp_path / "source").glob("*.pt"))]
    original = {key: value for part in read for key, value in part.items()}
    assert exported.keys() == original.keys()
    assert all(torch.equal(exported[key], original[key]) for key in original)


def test_hf_and_consolidated_agree_but_for_the_orientation_of_w2(model, source: Path, tmp_path: Path) -> None:
    write_hf(model, tmp_path / "hf")
    repack(source, tmp_path / "a")
    repack(tmp_path / "hf", tmp_path / "b")
    a, b = RepackedCheckpoint(tmp_path / "a"), RepackedCheckpoint(tmp_path / "b")
    assert a.config == b.config
    for name in a.names():
        assert torch.equal(a.tensor(name), b.tensor(name)), name
        same = a.manifest.tensors[name]["sha256"] == b.manifest.tensors[name]["sha256"]
        assert same == (".w2." not in name), name


def test_mistrals_safetensors_agree_with_both(model, source: Path, tmp_path: Path) -> None:
    write_per_expert(model, tmp_path / "later")
    write_hf(model, tmp_path / "hf")
    (tmp_path / "hf" / "consolidated.safetensors").write_bytes(b"other names for the same weights: never opened")
    for name in ("source", "later", "hf"):
        repack(tmp_path / name, tmp_path / f"{name} repacked")
    a, b, c = (RepackedCheckpoint(tmp_path / f"{name} repacked") for name in ("source", "later", "hf"))
    for name in a.names():
        assert torch.equal(a.tensor(name), b.tensor(name)), name
        assert torch.equal(b.tensor(name), c.tensor(name)), name
    assert contents(tmp_path / "later repacked").keys() == contents(tmp_path / "source repacked").keys()


def test_the_index_says_which_files_count(model, tmp_path: Path) -> None:
    write_hf(model, tmp_path / "hf")
    (tmp_path / "hf" / "model-of-something-else.safetensors").write_bytes(b"never opened")
    repack(tmp_path / "hf", tmp_path / "out")
    (tmp_path / "hf" / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match="hf misses 1 of its files: model-00002-of-00002.safetensors; fetch them"):
        repack(tmp_path / "hf", tmp_path / "out")
    (tmp_path / "hf" / "model.safetensors.index.json").write_text("[]")
    with pytest.raises(CheckpointError, match="index.json holds a list; expected an object"):
        repack(tmp_path / "hf", tmp_path / "out")
    for outside in ("../elsewhere.safetensors", ".hidden.safetensors"):
        index = {"weight_map": {"lm_head.weight": outside}}
        (tmp_path / "hf" / "model.safetensors.index.json").write_text(json.dumps(index))
        with pytest.raises(CheckpointError, match="has no weight_map; expected it to name the file of every key"):
            repack(tmp_path / "hf", tmp_path / "out")


def test_same_input_same_bytes_and_a_second_run_changes_nothing(source: Path, tmp_path: Path) -> None:
    for out in ("a", "b", "a"):
        repack(source, tmp_path / out)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    names = ["globals.safetensors", "layers.00.safetensors", "layers.01.safetensors", "manifest.json", "params.json"]
    assert sorted(contents(tmp_path / "a")) == names


def test_every_file_of_a_tokenizer_is_copied(source: Path, tmp_path: Path) -> None:
    names = ["tokenizer.model", "tokenizer.model.v3", "tokenizer.json", "added_tokens.json", "generation_config.json"]
    for name in names:
        (source / name).write_text(f"what is in {name}")
    repack(source, tmp_path / "out")
    assert {(tmp_path / "out" / name).read_text() for name in names} == {f"what is in {name}" for name in names}
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["files"].keys() == {"params.json", *names}


def test_manifest_describes_what_is_there(source: Path, tmp_path: Path) -> None:
    import hashlib

    repack(source, tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["format_version"] == 2
    assert {name: file["bytes"] for name, file in manifest["source"].items()} == {
        file.name: file.stat().st_size for file in source.glob("*.pt")
    }
    checkpoint = RepackedCheckpoint(tmp_path / "out")
    name = "layers.1.feed_forward.experts.3.w2.weight"
    entry, stored = manifest["tensors"][name], checkpoint.tensor(name).T.contiguous()
    assert entry["file"] == "layers.01.safetensors"
    assert entry["shape"] == list(stored.shape) == [96, 64]
    assert entry["dtype"] == "bfloat16"
    params = (tmp_path / "out" / "params.json").read_bytes()
    assert manifest["files"] == {"params.json": hashlib.sha256(params).hexdigest()}
    assert entry["sha256"] == hashlib.sha256(stored.view(torch.uint8).numpy().tobytes()).hexdigest()


def test_rotary_orders_are_inverse_and_as_documented() -> None:
    rows = torch.arange(12)[:, None]  # 2 heads of 6
    interleaved = interleave_rotary_rows(rows, 2)
    assert interleaved.flatten().tolist() == [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]
    assert torch.equal(split_rotary_rows(interleaved, 2), rows)


# ---------------------------------------------------------------- the script


def run_script(*arguments: object, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False
    )


def test_script_runs_from_any_directory_without_ttnn(source: Path, tmp_path: Path) -> None:
    done = run_script("source", "out", "--instruct", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert RepackedCheckpoint(tmp_path / "out").flavour == "instruct"
    code = (
        "import sys; sys.modules['ttnn'] = sys.modules['ttnn_cpu'] = sys.modules['sentencepiece'] = None;"
        f"sys.path.insert(0, {str(SCRIPT.parents[1])!r}); import models.mixtral8x7b.checkpoint.repack"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False).returncode == 0


def test_script_says_one_sentence_for_a_users_mistake(source: Path, tmp_path: Path) -> None:
    (source / "consolidated.01.pt").unlink()
    for arguments, code, message in (
        (("source",), 2, "expected path_to_checkpoint_dir and repacked_output_dir"),
        (("--verify", "source", "out"), 2, "--verify takes the repacked directory alone"),
        (("--verify", "source"), 1, "repack_weights: source is not a repacked checkpoint"),
        (("source", "out"), 1, "repack_weights: source (2 x consolidated.*.pt) misses"),
        (("nowhere", "out"), 1, "repack_weights: nowhere is not a directory"),
    ):
        done = run_script(*arguments, cwd=tmp_path)
        assert done.returncode == code
        assert message in done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "out").exists()


def test_a_full_disk_is_one_sentence_and_leaves_nothing(source: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk."""
    code = (
        "import resource, runpy, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
        f"sys.argv = ['repack', 'source', 'out']; runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "repack_weights: cannot write to out" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
