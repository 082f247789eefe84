"""The weight pipeline: published forms -> repacked form, and what it refuses.

.venv/bin/python -m pytest tests/weights
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from models.mixtral8x7b.repack import repack
from models.mixtral8x7b.repacked import RepackedCheckpoint
from models.mixtral8x7b.weights import (
    CheckpointError,
    Form,
    export,
    interleave_rotary_rows,
    split_rotary_rows,
)
from tests.tiny_models import random_model, small_config, write_consolidated, write_hf

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "repack_weights.py"


@pytest.fixture(scope="module")
def model():
    return random_model(small_config())


@pytest.fixture
def source(model, tmp_path: Path) -> Path:
    write_consolidated(model, tmp_path / "source")
    return tmp_path / "source"


def contents(directory: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(directory.iterdir())}


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


def test_same_input_same_bytes_and_a_second_run_changes_nothing(source: Path, tmp_path: Path) -> None:
    for out in ("a", "b", "a"):
        repack(source, tmp_path / out)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    names = ["globals.safetensors", "layers.00.safetensors", "layers.01.safetensors", "manifest.json", "params.json"]
    assert sorted(contents(tmp_path / "a")) == names


def test_tokenizer_is_copied_when_present(source: Path, tmp_path: Path) -> None:
    (source / "tokenizer.model").write_bytes(b"pieces")
    repack(source, tmp_path / "out")
    assert (tmp_path / "out" / "tokenizer.model").read_bytes() == b"pieces"


def test_manifest_describes_what_is_there(source: Path, tmp_path: Path) -> None:
    import hashlib

    repack(source, tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["format_version"] == 1
    assert manifest["source"] == {file.name: file.stat().st_size for file in source.glob("*.pt")}
    checkpoint = RepackedCheckpoint(tmp_path / "out")
    name = "layers.1.feed_forward.experts.3.w2.weight"
    entry, stored = manifest["tensors"][name], checkpoint.tensor(name).T.contiguous()
    assert entry["file"] == "layers.01.safetensors"
    assert entry["shape"] == list(stored.shape) == [96, 64]
    assert entry["dtype"] == "bfloat16"
    assert entry["sha256"] == hashlib.sha256(stored.view(torch.uint8).numpy().tobytes()).hexdigest()


def test_rotary_orders_are_inverse_and_as_documented() -> None:
    rows = torch.arange(12)[:, None]  # 2 heads of 6
    interleaved = interleave_rotary_rows(rows, 2)
    assert interleaved.flatten().tolist() == [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]
    assert torch.equal(split_rotary_rows(interleaved, 2), rows)


# ---------------------------------------------------------------- what is refused


def rewrite(source: Path, change) -> None:
    """Puts all keys through `change` (a function on the dictionary) and writes them as one file."""
    tensors = {}
    for file in sorted(source.glob("*.pt")):
        tensors |= torch.load(file, weights_only=True)
        file.unlink()
    change(tensors)
    torch.save(tensors, source / "consolidated.00.pt")


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def set_nan(tensors: dict) -> None:
    tensors["layers.1.block_sparse_moe.w3"][5, 7] = float("nan")


class Evil:
    """Unpickled without care, it runs code: it makes a folder named `pwned` where the test runs."""

    def __reduce__(self):
        return os.mkdir, ("pwned",)


BAD_SOURCES = {
    "missing folder": (lambda s: s.rename(s.with_name("elsewhere")), "is not a directory"),
    "empty folder": (lambda s: [f.unlink() for f in s.iterdir()], "neither params.json nor config.json"),
    "no weights": (lambda s: [f.unlink() for f in s.glob("*.pt")], "has no weights; expected consolidated"),
    "truncated file": (lambda s: truncate(s / "consolidated.02.pt"), "consolidated.02.pt cannot be read"),
    "not a checkpoint": (lambda s: (s / "consolidated.01.pt").write_text("hello"), "consolidated.01.pt cannot be read"),
    "a file gone": (lambda s: (s / "consolidated.01.pt").unlink(), "misses [0-9]+ of its keys: layers.0"),
    "a layer gone": (
        lambda s: rewrite(s, lambda t: [t.pop(k) for k in list(t) if k.startswith("layers.1.")]),
        r"misses 10 of its keys: layers.1.attention.wk.weight",
    ),
    "unknown key": (lambda s: rewrite(s, lambda t: t.update(extra=t["norm.weight"])), "unknown 1 of its keys: extra"),
    "wrong shape": (
        lambda s: rewrite(s, lambda t: t.update({"norm.weight": torch.ones(63)})),
        r"norm.weight has shape \[63\]; \[64\] expected",
    ),
    "experts missing": (
        lambda s: rewrite(s, lambda t: t.update({"layers.0.block_sparse_moe.w1": torch.ones(96 * 3, 64)})),
        r"layers.0.block_sparse_moe.w1 has shape \[288, 64\]; \[384, 64\] expected",
    ),
    "integers": (
        lambda s: rewrite(s, lambda t: t.update({"norm.weight": torch.ones(64, dtype=torch.int64)})),
        "norm.weight is torch.int64",
    ),
    "NaN": (lambda s: rewrite(s, set_nan), "layers.1.block_sparse_moe.w3 holds NaN"),
    "not JSON": (lambda s: (s / "params.json").write_text("{"), "params.json is not readable as JSON"),
    "wrong type": (
        lambda s: (s / "params.json").write_text(json.dumps(small_config().to_params() | {"dim": "64"})),
        "dim is '64'; expected a whole number",
    ),
    "code in a file": (lambda s: torch.save({"x": Evil()}, s / "consolidated.00.pt"), "consolidated.00.pt cannot be"),
}


@pytest.mark.parametrize(("damage", "message"), BAD_SOURCES.values(), ids=BAD_SOURCES)
def test_a_bad_source_is_named_and_nothing_is_left(
    source: Path, tmp_path: Path, monkeypatch, damage, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    damage(source)
    with pytest.raises(CheckpointError, match=message):
        repack(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "pwned").exists()


def test_a_key_in_two_files_is_refused(source: Path, tmp_path: Path) -> None:
    one = torch.load(source / "consolidated.00.pt", weights_only=True)
    torch.save(one, source / "consolidated.07.pt")
    with pytest.raises(CheckpointError, match=r"consolidated.07.pt holds .* which an earlier file holds too"):
        repack(source, tmp_path / "out")


def test_a_failure_leaves_an_earlier_repack_as_it_was(source: Path, tmp_path: Path) -> None:
    """NaN of the same file sizes, so only the content tells that the source went bad."""
    repack(source, tmp_path / "out")
    before = contents(tmp_path / "out")
    for file in source.glob("*.pt"):
        tensors = torch.load(file, weights_only=True)
        torch.save({k: torch.full_like(v, float("nan")) for k, v in tensors.items()}, file)
    with pytest.raises(CheckpointError, match="NaN"):
        repack(source, tmp_path / "out")
    assert contents(tmp_path / "out") == before


def test_another_checkpoint_of_the_same_file_sizes_is_not_written_over(source: Path, tmp_path: Path) -> None:
    repack(source, tmp_path / "out")
    before = contents(tmp_path / "out")
    shutil.rmtree(source)
    write_consolidated(random_model(small_config(), seed=1), source)
    with pytest.raises(CheckpointError, match="holds another repacked checkpoint"):
        repack(source, tmp_path / "out")
    assert contents(tmp_path / "out") == before


def test_output_folders_that_are_refused(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("do not lose me")
    with pytest.raises(CheckpointError, match=r"holds something else \(thesis.txt"):
        repack(source, out)
    assert contents(out) == {"thesis.txt": b"do not lose me"}
    repack(source, tmp_path / "base")
    with pytest.raises(CheckpointError, match="holds another repacked checkpoint"):
        repack(source, tmp_path / "base", "instruct")
    with pytest.raises(CheckpointError, match="is a file; expected a folder"):
        repack(source, out / "thesis.txt")
    with pytest.raises(CheckpointError, match="cannot write to"):
        repack(source, out / "thesis.txt" / "below")


def test_an_interrupted_repack_is_taken_up_again(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / ".partial").mkdir()
    (out / ".partial" / ".tmpX").write_bytes(b"half")
    repack(source, out)
    assert not (out / ".partial").exists()
    RepackedCheckpoint(out).tensor("layers.0.attention.wq.weight")


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


def test_reading_a_directory_that_is_not_repacked_gives_the_command(source: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"not a repacked checkpoint .* scripts/repack_weights.py <path"):
        RepackedCheckpoint(source)
    repack(source, tmp_path / "out")
    (tmp_path / "out" / "layers.01.safetensors").unlink()
    with pytest.raises(CheckpointError, match="layers.01.safetensors.* cannot be read"):
        RepackedCheckpoint(tmp_path / "out").tensor("layers.1.ffn_norm.weight")
    (tmp_path / "out" / "manifest.json").write_text('{"format_version": 99}')
    with pytest.raises(CheckpointError, match="format version 99; expected 1"):
        RepackedCheckpoint(tmp_path / "out")
    manifest = {"format_version": 1, "flavour": "base", "form": "hf", "source": {}, "tensors": {}}
    for damaged in ("{", json.dumps(manifest | {"tensors": ["x"]}), json.dumps(manifest | {"flavour": 7})):
        (tmp_path / "out" / "manifest.json").write_text(damaged)
        with pytest.raises(CheckpointError, match="is damaged"):
            RepackedCheckpoint(tmp_path / "out")


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
        f"sys.path.insert(0, {str(SCRIPT.parents[1])!r}); import models.mixtral8x7b.repack"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False).returncode == 0


def test_script_says_one_sentence_for_a_users_mistake(source: Path, tmp_path: Path) -> None:
    (source / "consolidated.01.pt").unlink()
    for arguments, code, message in (
        ((), 2, "the following arguments are required: path_to_checkpoint_dir, repacked_output_dir"),
        (("source", "out"), 1, "repack_weights: source (2 x consolidated.*.pt) misses"),
        (("nowhere", "out"), 1, "repack_weights: nowhere is not a directory"),
    ):
        done = run_script(*arguments, cwd=tmp_path)
        assert done.returncode == code
        assert message in done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "out").exists()
