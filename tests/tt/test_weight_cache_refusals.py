"""Nothing wrong in a weight cache is ever used in silence: it is named, and made again or refused.

.venv/bin/python -m pytest tests/tt/test_weight_cache_refusals.py
"""

import random
import shutil
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import ttnn

from models.mixtral8x7b.checkpoint import cache_folder
from models.mixtral8x7b.checkpoint.cache_folder import INDEX, CacheFolder
from models.mixtral8x7b.checkpoint.cached import CachedCheckpoint
from models.mixtral8x7b.checkpoint.repack import repack
from models.mixtral8x7b.checkpoint.repacked import TOKENIZER_FILES, RepackedCheckpoint
from models.mixtral8x7b.checkpoint.weights import CheckpointError
from models.mixtral8x7b.durable import SPARE_BYTES, BusyError, exclusive
from models.mixtral8x7b.tt.mesh import Placement, open_mesh
from models.mixtral8x7b.tt.precision import PRESETS
from models.mixtral8x7b.tt.rms_norm import RMSNorm
from models.mixtral8x7b.tt.weight_cache import CheckpointWeights, bytes_per_number
from tests.tiny_models import contents, random_model, write_consolidated
from tests.tt.cases import sliceable_config
from tests.tt.weight_cache_cases import (  # noqa: F401
    EXPERT,
    WO,
    cache,
    check_files,
    check_kills,
    copy,
    flip,
    logits,
    repacked,
    warnings,
)

# ---------------------------------------------------------------- what is wrong


def missing(folder: Path) -> None:
    (folder / WO).unlink()


def truncated(folder: Path) -> None:
    (folder / WO).write_bytes((folder / WO).read_bytes()[:-1])


def header_damaged(folder: Path) -> None:
    flip(folder / WO, 8 * 100)


def part_damaged(folder: Path) -> None:
    flip(folder / WO, 8 * ((folder / WO).stat().st_size - 5))


def zeroed(folder: Path) -> None:
    (folder / WO).write_bytes(bytes((folder / WO).stat().st_size))


def of_another_layer(folder: Path) -> None:
    shutil.copyfile(folder / WO.replace("layers.1", "layers.0"), folder / WO)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (missing, "is missing"),
        (truncated, r"has \d+ bytes, not \d+"),
        (header_damaged, "is damaged in its header"),
        (part_damaged, "is damaged in part 7 of 8"),
        (zeroed, "is damaged in its header"),
        (of_another_layer, "is damaged in part 0 of 8"),
    ],
)
def test_a_wrong_file_is_named_and_made_again_or_refused(
    repacked: Path, cache: Path, copy: Path, warnings: list[str], damage, message: str
) -> None:
    damage(copy)
    checkpoint = RepackedCheckpoint(repacked)
    with open_mesh(8) as mesh:
        with pytest.raises(CheckpointError, match=rf"{WO} {message}; start without --cache-only"):
            logits(mesh, CheckpointWeights(checkpoint, mesh, copy, cache_only=True))
        logits(mesh, CheckpointWeights(checkpoint, mesh, copy))
    assert len(warnings) == 1
    assert warnings[0].startswith(f"{copy / WO} ")
    assert warnings[0].endswith("; it is made again")
    assert contents(copy) == contents(cache)


def test_no_single_flipped_bit_is_silent(cache: Path, copy: Path) -> None:
    """1,000 of them, each in a file chosen by its size; one in the index is found when the folder is opened."""
    generator = random.Random(0)
    files = sorted(copy.iterdir())
    sizes = [file.stat().st_size for file in files]
    in_index = 0
    for file in generator.choices(files, sizes, k=1000):
        bit = generator.randrange(8 * file.stat().st_size)
        flip(file, bit)
        if file.name == INDEX:
            in_index += 1
            with pytest.raises(CheckpointError, match="weight_cache.json is damaged; delete the folder"):
                CacheFolder(copy)
        else:
            assert CacheFolder(copy).problem(file.name).startswith("is damaged in"), (file.name, bit)
        flip(file, bit)
    assert in_index > 0
    assert contents(copy) == contents(cache)


def test_a_part_is_compared_whole_in_however_many_reads(copy: Path, monkeypatch) -> None:
    monkeypatch.setattr(cache_folder, "READ_BYTES", 1000)
    folder = CacheFolder(copy)
    assert {name: folder.problem(name) for name in folder.files} == dict.fromkeys(folder.files, "")
    name, entry = max(folder.files.items(), key=lambda item: item[1].part_stride)
    assert entry.part_stride > 3000
    for byte in (entry.header_bytes, entry.header_bytes + 1500, entry.header_bytes + entry.part_stride - 1):
        flip(copy / name, 8 * byte)
        assert folder.problem(name).startswith("is damaged in part 0")
        flip(copy / name, 8 * byte)


def test_a_cache_of_something_else_is_never_used(
    repacked: Path, cache: Path, tmp_path: Path, warnings: list[str], monkeypatch
) -> None:
    checkpoint, other = RepackedCheckpoint(repacked), RepackedCheckpoint(repacked.with_name("repacked1"))

    def check(checkpoint: RepackedCheckpoint, n_devices: int, message: str) -> None:
        folder = Path(shutil.copytree(cache, tmp_path / "cache"))
        with open_mesh(n_devices) as mesh:
            fresh = logits(mesh, CheckpointWeights(checkpoint, mesh, None))
            with pytest.raises(CheckpointError, match=f"cache is of something else: {message}; start without --cache"):
                CheckpointWeights(checkpoint, mesh, folder, cache_only=True)
            assert contents(folder) == contents(cache)
            assert torch.equal(logits(mesh, CheckpointWeights(checkpoint, mesh, folder)), fresh)
            assert "is of something else" in warnings[-1]
            logits(mesh, CheckpointWeights(checkpoint, mesh, folder, cache_only=True))
        shutil.rmtree(folder)

    check(other, 8, "its fingerprint is .*, not .*")
    check(checkpoint, 4, "its mesh is 1x8, not 1x4")
    monkeypatch.setattr("tensorbin.TTNN_VERSION", "0.99")
    check(checkpoint, 8, "its ttnn is 0.81.1, not 0.99")
    monkeypatch.setattr("models.mixtral8x7b.tt.weight_cache.CONVERSION", 99)
    check(checkpoint, 8, "its conversion is 2, not 99")


def test_a_cache_of_another_version_is_never_used(repacked: Path, copy: Path, warnings: list[str], monkeypatch) -> None:
    checkpoint = RepackedCheckpoint(repacked)
    with open_mesh(8) as mesh:
        fresh = logits(mesh, CheckpointWeights(checkpoint, mesh, None))
        monkeypatch.setattr("models.mixtral8x7b.checkpoint.cache_folder.FORMAT_VERSION", 3)
        monkeypatch.setattr("models.mixtral8x7b.tt.weight_cache.FORMAT_VERSION", 3)
        with pytest.raises(CheckpointError, match="cache is of something else: its format_version is 2, not 3; start"):
            CheckpointWeights(checkpoint, mesh, copy, cache_only=True)
        assert torch.equal(logits(mesh, CheckpointWeights(checkpoint, mesh, copy)), fresh)
    assert "its format_version is 2, not 3; it is made again" in warnings[0]


def test_another_programs_files_are_left_alone(repacked: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "cache" / "layers.0.attention.wqkv_multidevice.tensorbin"
    theirs.parent.mkdir()
    theirs.write_bytes(b"of the original demo")
    with open_mesh(8) as mesh, pytest.raises(CheckpointError, match="without weight_cache.json, so of another program"):
        logits(mesh, CheckpointWeights(RepackedCheckpoint(repacked), mesh, theirs.parent))
    assert contents(theirs.parent) == {theirs.name: b"of the original demo"}


def test_two_programs_with_other_weights_never_mix_in_one_folder(repacked: Path, copy: Path) -> None:
    ours, theirs = RepackedCheckpoint(repacked), RepackedCheckpoint(repacked.with_name("repacked1"))
    with open_mesh(8) as mesh:

        def load(weights: CheckpointWeights) -> ttnn.Tensor:
            shape = (1, 1, ours.config.dim // 32, 32)
            make = lambda read, chip: read("norm.weight").reshape(shape)  # noqa: E731
            return weights.load("norm", shape, make, ttnn.bfloat16, Placement.REPLICATED, ttnn.ROW_MAJOR_LAYOUT)

        weights = CheckpointWeights(ours, mesh, copy)
        load(weights)
        load(CheckpointWeights(theirs, mesh, copy))
        with pytest.raises(CheckpointError, match="another process fills .*cache with something else; set MIXTRAL_CAC"):
            load(weights)


def test_nobody_changes_a_file_between_its_check_and_its_load(repacked: Path, copy: Path, monkeypatch) -> None:
    def load_tensor(file: str) -> ttnn.Tensor:
        with pytest.raises(BusyError), exclusive(copy):
            pass
        return real(file)

    real = ttnn.load_tensor
    monkeypatch.setattr(ttnn, "load_tensor", load_tensor)
    with open_mesh(8) as mesh:
        logits(mesh, CheckpointWeights(RepackedCheckpoint(repacked), mesh, copy))


def test_a_damaged_repacked_file_never_gets_into_the_cache(repacked: Path, tmp_path: Path) -> None:
    damaged = Path(shutil.copytree(repacked, tmp_path / "damaged"))
    file = damaged / "layers.01.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[:-4096] + bytes(4096))
    with (
        open_mesh(8) as mesh,
        pytest.raises(CheckpointError, match="layers.01.safetensors: layers.1.ffn_norm.weight is damaged"),
    ):
        logits(mesh, CheckpointWeights(RepackedCheckpoint(damaged), mesh, tmp_path / "cache"))


def test_the_tokenizer_in_the_cache_follows_the_checkpoints(repacked: Path, copy: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(repacked, tmp_path / "other"))
    for content in (b"other pieces", b""):
        (other / "tokenizer.model").write_bytes(content)
        with open_mesh(8) as mesh:
            CheckpointWeights(RepackedCheckpoint(other), mesh, copy)
        assert (copy / "tokenizer.model").read_bytes() == content
        CachedCheckpoint(copy).check_tokenizer()


def test_all_files_of_a_tokenizer_are_in_the_cache_and_those_that_are_gone_are_not(
    repacked: Path, copy: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(repacked, tmp_path / "other"))
    for name in set(TOKENIZER_FILES) - {"tokenizer.model"}:
        (other / name).write_text(name)
    for gone in ("tokenizer.json", "tokenizer.model", "tokenizer_config.json"):
        with open_mesh(8) as mesh:
            CheckpointWeights(RepackedCheckpoint(other), mesh, copy)
        expected = {name: (other / name).read_bytes() for name in TOKENIZER_FILES if (other / name).is_file()}
        assert {name: (copy / name).read_bytes() for name in TOKENIZER_FILES if (copy / name).is_file()} == expected
        assert set(CacheFolder(copy).tokenizer_files()) == set(expected)
        CachedCheckpoint(copy).check_tokenizer()
        (other / gone).unlink()
    (copy / "added_tokens.json").write_text("added_tokens.JSON")
    with pytest.raises(CheckpointError, match="added_tokens.json is damaged .*; set MIXTRAL_TOKENIZER_PATH"):
        CachedCheckpoint(copy).check_tokenizer()


def test_a_folder_that_cannot_be_written_is_named(repacked: Path, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").write_text("")
    checkpoint = RepackedCheckpoint(repacked)
    with open_mesh(8) as mesh:
        with pytest.raises(CheckpointError, match="file/cache cannot be written .*; mend this, or set MIXTRAL_CACHE_P"):
            logits(mesh, CheckpointWeights(checkpoint, mesh, tmp_path / "file" / "cache"))

        class Usage:
            free = 66_000_000

        monkeypatch.setattr("shutil.disk_usage", lambda path: Usage)
        with pytest.raises(CheckpointError, match="66.0 MB free; make room or choose another folder, through MIXTRAL_"):
            logits(mesh, CheckpointWeights(checkpoint, mesh, tmp_path / "cache"))
    assert not (tmp_path / "cache").exists()


def test_the_room_that_a_cache_wants_is_that_of_its_experts(repacked: Path, tmp_path: Path, monkeypatch) -> None:
    checkpoint = RepackedCheckpoint(repacked)
    with open_mesh(8) as mesh:
        for precision in PRESETS.values():
            density = bytes_per_number(precision)
            assert (
                1024 * density
                == {"performance": 1088, "accuracy": 1088, "mixed": 2240 / 3, "bfp4": 576}[precision.name]
            )
            needed = int(density * checkpoint.n_parameters()) + SPARE_BYTES
            for free, is_enough in ((needed, True), (needed - 1, False)):
                monkeypatch.setattr("shutil.disk_usage", lambda path, free=free: SimpleNamespace(free=free))
                folder = tmp_path / f"{precision.name} {free}"
                weights = CheckpointWeights(checkpoint, mesh, folder, density=density)
                with nullcontext() if is_enough else pytest.raises(CheckpointError, match="make room"):
                    RMSNorm(weights, precision, "norm")


def test_a_file_that_cannot_be_read_is_named(cache: Path, monkeypatch) -> None:
    def refused(*arguments: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.preadv", refused)
    assert CacheFolder(cache).problem(WO) == "cannot be read (Input/output error)"


def test_a_float16_checkpoint_is_cached_too(tmp_path: Path) -> None:
    write_consolidated(random_model(sliceable_config()), tmp_path / "source", dtype=torch.float16)
    repack(tmp_path / "source", tmp_path / "repacked")
    checkpoint = RepackedCheckpoint(tmp_path / "repacked")
    with open_mesh(8) as mesh:
        fresh = logits(mesh, CheckpointWeights(checkpoint, mesh, None))
        assert torch.equal(logits(mesh, CheckpointWeights(checkpoint, mesh, tmp_path / "cache")), fresh)
