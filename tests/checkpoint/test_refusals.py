"""What the repack and the reading of its output refuse: one clear error each, and nothing left behind or lost."""

import contextlib
import json
import os
import random
import shutil
from pathlib import Path

import pytest
import torch

from models.mixtral8x7b.checkpoint.repack import repack
from models.mixtral8x7b.checkpoint.repacked import RepackedCheckpoint
from models.mixtral8x7b.checkpoint.source import SourceCheckpoint
from models.mixtral8x7b.checkpoint.weights import CheckpointError
from tests.tiny_models import contents, random_model, small_config, write_consolidated


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
    "empty folder": (lambda s: [f.unlink() for f in s.iterdir()], "has no weights; expected model"),
    "no weights": (lambda s: [f.unlink() for f in s.glob("*.pt")], "has no weights; expected model.*consolidated"),
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
        r"norm.weight is torch.int64; expected one of torch.bfloat16, torch.float16, torch.float32",
    ),
    "float8": (
        lambda s: rewrite(s, lambda t: t.update({"norm.weight": torch.ones(64).to(torch.float8_e4m3fn)})),
        "norm.weight is torch.float8_e4m3fn; expected one of",
    ),
    "not JSON": (lambda s: (s / "params.json").write_text("{"), "params.json is not readable as JSON"),
    "wrong type": (
        lambda s: (s / "params.json").write_text(json.dumps(small_config().to_params() | {"dim": "64"})),
        "dim is '64'; expected a whole number",
    ),
    "sparse": (
        lambda s: rewrite(s, lambda t: t.update({"norm.weight": torch.ones(64).to_sparse()})),
        "consolidated.00.pt does not hold a dictionary of tensors",
    ),
    "numbered keys": (lambda s: rewrite(s, lambda t: t.update({7: t["norm.weight"]})), "does not hold a dictionary"),
    "a billion layers": (
        lambda s: (s / "params.json").write_text(json.dumps(small_config().to_params() | {"n_layers": 10**9})),
        "n_layers is 1000000000; expected at most 1024",
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


def test_another_configuration_of_the_same_weights_is_another_checkpoint(source: Path, tmp_path: Path) -> None:
    repack(source, tmp_path / "out")
    params = json.loads((source / "params.json").read_text())
    (source / "params.json").write_text(json.dumps(params | {"rope_theta": 12.5}))
    with pytest.raises(CheckpointError, match="out holds another checkpoint"):
        repack(source, tmp_path / "out")


def test_a_tied_head_is_written_twice(model, tmp_path: Path) -> None:
    write_consolidated(model, tmp_path / "source", n_files=1)
    file = tmp_path / "source" / "consolidated.00.pt"
    tensors = torch.load(file, weights_only=True)
    tensors["output.weight"] = tensors["tok_embeddings.weight"]
    torch.save(tensors, file)
    repack(tmp_path / "source", tmp_path / "out")
    checkpoint = RepackedCheckpoint(tmp_path / "out")
    assert torch.equal(checkpoint.tensor("output.weight"), checkpoint.tensor("tok_embeddings.weight"))


def test_a_damaged_file_is_one_sentence_whatever_torch_makes_of_it(source: Path, tmp_path: Path) -> None:
    file = source / "consolidated.01.pt"
    good = bytearray(file.read_bytes())
    generator = random.Random(0)
    for _ in range(300):
        bit = generator.randrange(8 * 4096)
        good[bit // 8] ^= 1 << bit % 8
        file.write_bytes(good)
        with contextlib.suppress(CheckpointError):
            SourceCheckpoint(source)
        good[bit // 8] ^= 1 << bit % 8


def test_a_key_in_two_files_is_refused(source: Path, tmp_path: Path) -> None:
    one = torch.load(source / "consolidated.00.pt", weights_only=True)
    torch.save(one, source / "consolidated.07.pt")
    with pytest.raises(CheckpointError, match=r"consolidated.07.pt holds .* which consolidated.00.pt holds too"):
        repack(source, tmp_path / "out")


@pytest.mark.parametrize("number", ["inf", "-inf"])
def test_one_number_that_overflowed_is_found(number: str, source: Path, tmp_path: Path) -> None:
    rewrite(source, lambda tensors: tensors["layers.0.attention.wv.weight"][3].__setitem__(9, float(number)))
    with pytest.raises(CheckpointError, match="layers.0.attention.wv.weight holds NaN or infinite numbers"):
        repack(source, tmp_path / "out")


def test_numbers_that_are_not_finite_are_named_and_whole_files_stay(source: Path, tmp_path: Path) -> None:
    good = contents(source)
    rewrite(source, set_nan)
    with pytest.raises(
        CheckpointError, match="layers.1.block_sparse_moe.w3 holds NaN or infinite numbers; if the file is"
    ):
        repack(source, tmp_path / "out")
    assert sorted(contents(tmp_path / "out")) == ["globals.safetensors", "layers.00.safetensors", "unfinished.json"]
    (source / "consolidated.00.pt").unlink()
    for name, content in good.items():
        (source / name).write_bytes(content)
    with pytest.raises(CheckpointError, match="out holds another checkpoint; choose another folder or delete it"):
        repack(source, tmp_path / "out")  # this source has three files, not one


def test_another_checkpoint_of_the_same_file_sizes_is_not_written_over(source: Path, tmp_path: Path) -> None:
    repack(source, tmp_path / "out")
    before = contents(tmp_path / "out")
    shutil.rmtree(source)
    write_consolidated(random_model(small_config(), seed=1), source)
    with pytest.raises(CheckpointError, match="holds another checkpoint"):
        repack(source, tmp_path / "out")
    assert contents(tmp_path / "out") == before


def test_output_folders_that_are_refused(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    mine = {"thesis.txt": b"do not lose me", "thesis.tmp": b"nor me", ".tmpstuff": b"nor me"}
    for name, content in mine.items():
        (out / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=r"holds something else \(.tmpstuff, "):
        repack(source, out)
    assert contents(out) == mine
    repack(source, tmp_path / "base")
    with pytest.raises(CheckpointError, match="base was repacked as base, not instruct; choose another folder"):
        repack(source, tmp_path / "base", "instruct")
    with pytest.raises(CheckpointError, match="is a file; expected a folder"):
        repack(source, out / "thesis.txt")
    with pytest.raises(CheckpointError, match="cannot write to"):
        repack(source, out / "thesis.txt" / "below")


def test_reading_a_directory_that_is_not_repacked_gives_the_command(source: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"not a repacked checkpoint .* scripts/repack_weights.py <path"):
        RepackedCheckpoint(source)
    repack(source, tmp_path / "out")
    (tmp_path / "out" / "layers.01.safetensors").unlink()
    with pytest.raises(CheckpointError, match="layers.01.safetensors is missing; repack again: .venv"):
        RepackedCheckpoint(tmp_path / "out").tensor("layers.1.ffn_norm.weight")
    (tmp_path / "out" / "manifest.json").write_text('{"format_version": 99}')
    with pytest.raises(CheckpointError, match="format version 99; expected 2"):
        RepackedCheckpoint(tmp_path / "out")
    manifest = {"format_version": 2, "flavour": "base", "form": "hf", "source": {}, "tensors": {}}
    for damaged in ("{", json.dumps(manifest | {"tensors": ["x"]}), json.dumps(manifest | {"flavour": 7})):
        (tmp_path / "out" / "manifest.json").write_text(damaged)
        with pytest.raises(CheckpointError, match="is damaged"):
            RepackedCheckpoint(tmp_path / "out")
