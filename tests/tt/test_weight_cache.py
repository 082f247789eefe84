"""The weight cache: cached equals fresh bit for bit, and nothing wrong in it is ever used in silence.

.venv/bin/python -m pytest tests/tt/test_weight_cache.py
"""

import json
import random
import shutil
from pathlib import Path

import pytest
import torch
import ttnn
from loguru import logger

from models.mixtral8x7b.cache_folder import INDEX, CacheFolder
from models.mixtral8x7b.cached_checkpoint import CachedCheckpoint
from models.mixtral8x7b.repack import repack
from models.mixtral8x7b.repacked import RepackedCheckpoint
from models.mixtral8x7b.tt.mesh import Mesh, open_mesh
from models.mixtral8x7b.tt.model import Mixtral
from models.mixtral8x7b.tt.precision import ACCURACY, PERFORMANCE, Precision
from models.mixtral8x7b.tt.weight_cache import CheckpointWeights, cache_folder
from models.mixtral8x7b.weights import CheckpointError
from tests.tiny_models import contents, random_model, write_consolidated
from tests.tt.cases import sliceable_config
from tests.weights.kills import inodes, run_with_kills, seconds_of

WO = "layers.1.attention.wo_dtype_BFLOAT8_B_layout_TILE.tensorbin"
EXPERT = "layers.0.feed_forward.experts.slot0.w1_dtype_BFLOAT8_B_layout_TILE.tensorbin"


@pytest.fixture(scope="module")
def repacked(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    for seed in (0, 1):
        source = folder / f"source{seed}"
        write_consolidated(random_model(sliceable_config(), seed), source)
        (source / "tokenizer.model").write_bytes(b"pieces")
        repack(source, folder / f"repacked{seed}")
    return folder / "repacked0"


@pytest.fixture(scope="module")
def cache(repacked: Path) -> Path:
    """A whole cache, to be copied before anything is done to it."""
    folder = repacked.with_name("cache")
    with open_mesh(8) as mesh:
        logits(mesh, CheckpointWeights(RepackedCheckpoint(repacked), mesh, folder))
    return folder


@pytest.fixture
def copy(cache: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(cache, tmp_path / "cache"))


@pytest.fixture
def warnings() -> list[str]:
    seen: list[str] = []
    sink = logger.add(lambda message: seen.append(message.record["message"]), level="WARNING")
    yield seen
    logger.remove(sink)


def logits(mesh: Mesh, weights: CheckpointWeights, precision: Precision = PERFORMANCE) -> torch.Tensor:
    model = Mixtral(weights, mesh, precision, n_blocks=32, max_context=64)
    model.state.set_rows(list(range(32)), [0] * 32)
    model.state.set_blocks([[row] for row in range(32)])
    return model.read_logits(model.decode_logits())


def flip(file: Path, bit: int) -> None:
    content = bytearray(file.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)


# ---------------------------------------------------------------- what is right


def test_cached_equals_fresh_bit_for_bit_and_the_second_start_reads_no_weights(repacked: Path, copy: Path) -> None:
    checkpoint = RepackedCheckpoint(repacked)
    with open_mesh(8) as mesh:
        fresh = logits(mesh, CheckpointWeights(checkpoint, mesh, None))
        before = inodes(copy, "*")

        def touched(name: str) -> torch.Tensor:
            raise AssertionError(f"{name} was read")

        checkpoint.tensor = touched  # type: ignore[method-assign]
        cached = logits(mesh, CheckpointWeights(checkpoint, mesh, copy, cache_only=True))
    assert torch.equal(fresh, cached)
    assert inodes(copy, "*") == before


def test_presets_share_a_folder(repacked: Path, copy: Path) -> None:
    checkpoint = RepackedCheckpoint(repacked)
    with open_mesh(8) as mesh:
        for precision in (PERFORMANCE, ACCURACY):
            fresh = logits(mesh, CheckpointWeights(checkpoint, mesh, None), precision)
            for cache_only in (False, True):
                weights = CheckpointWeights(checkpoint, mesh, copy, cache_only)
                assert torch.equal(logits(mesh, weights, precision), fresh)
    names = {file.name for file in copy.iterdir()}
    assert {WO, WO.replace("BFLOAT8_B", "BFLOAT16"), EXPERT} <= names
    assert EXPERT.replace("BFLOAT8_B", "BFLOAT16") not in names


def test_folder_names_are_the_original_demos() -> None:
    assert cache_folder(Path("c"), "base", ttnn.bfloat8_b) == Path("c/mixtral_tensor_cache_bfp8")
    assert cache_folder(Path("c"), "instruct", ttnn.bfloat8_b) == Path("c/mixtral_tensor_cache_instruct_bfp8")


def test_the_index_tells_of_everything(repacked: Path, cache: Path) -> None:
    content = json.loads((cache / INDEX).read_text())["content"]
    assert content["identity"] == {
        "format_version": 2,
        "fingerprint": RepackedCheckpoint(repacked).fingerprint,
        "conversion": 2,
        "mesh": "1x8",
        "ttnn": "0.81.1",
    }
    assert content["source"]["flavour"] == "base"
    assert {file.name for file in cache.iterdir()} == {*content["files"], INDEX}
    assert {name: entry["bytes"] for name, entry in content["files"].items()} == {
        name: (cache / name).stat().st_size for name in content["files"]
    }
    assert len(content["files"][WO]["parts_crc32"]) == 8


@pytest.mark.parametrize("n_devices", [1, 2, 4, 8])
def test_the_file_is_the_one_that_ttnn_writes(repacked: Path, tmp_path: Path, n_devices: int) -> None:
    """Here ttnn is the CPU backend; tests/mock/test_weight_cache.py does it with the real one."""
    check_files(repacked, tmp_path, n_devices)


def check_files(repacked: Path, tmp_path: Path, n_devices: int) -> None:
    """The cache's files have the bytes of `ttnn.dump_tensor` of the same weights: one of each kind of placement."""
    checkpoint = RepackedCheckpoint(repacked)
    with open_mesh(n_devices) as mesh:
        Mixtral(CheckpointWeights(checkpoint, mesh, tmp_path / "cache"), mesh, ACCURACY, n_blocks=1, max_context=64)
        expert = torch.stack([checkpoint.tensor(f"layers.0.feed_forward.experts.{d}.w1.weight").T for d in range(8)])
        slots = 8 // n_devices
        parts = ttnn.from_torch(
            expert[::slots, None], ttnn.bfloat8_b, mesh_mapper=ttnn.ShardTensorToMesh(mesh.device, dim=0)
        )
        ttnn.dump_tensor(tmp_path / "expert.tensorbin", parts)
        wo = checkpoint.tensor("layers.1.attention.wo.weight").T[None, None]
        rows = ttnn.ShardTensorToMesh(mesh.device, dim=2)
        ttnn.dump_tensor(
            tmp_path / "wo.tensorbin",
            ttnn.from_torch(wo, ttnn.bfloat16, layout=ttnn.TILE_LAYOUT, mesh_mapper=rows),
        )
        ttnn.dump_tensor(
            tmp_path / "table.tensorbin",
            ttnn.from_torch(checkpoint.tensor("tok_embeddings.weight")[None, None], ttnn.bfloat16),
        )
    for name, file in (
        (EXPERT, "expert"),
        (WO.replace("BFLOAT8_B", "BFLOAT16"), "wo"),
        ("tok_embeddings_dtype_BFLOAT16_layout_ROW_MAJOR.tensorbin", "table"),
    ):
        assert (tmp_path / "cache" / name).read_bytes() == (tmp_path / f"{file}.tensorbin").read_bytes(), name


def test_progress_counts_parameters(repacked: Path, copy: Path) -> None:
    seen: list[tuple[float, float]] = []
    checkpoint = RepackedCheckpoint(repacked)
    with open_mesh(8) as mesh:
        logits(mesh, CheckpointWeights(checkpoint, mesh, copy, on_progress=lambda *counts: seen.append(counts)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (checkpoint.n_parameters(), checkpoint.n_parameters())


# ---------------------------------------------------------------- what was stopped


def test_a_conversion_killed_at_random_points_goes_on_and_ends_the_same(
    repacked: Path, cache: Path, tmp_path: Path
) -> None:
    check_kills(repacked, cache, tmp_path / "cache", 3)


def check_kills(repacked: Path, cache: Path, out: Path, n_kills: int) -> None:
    def code(folder: Path) -> str:
        return (
            "from models.mixtral8x7b.target import use_target\nuse_target('cpu')\nfrom pathlib import Path\n"
            "from models.mixtral8x7b.repacked import RepackedCheckpoint\n"
            "from models.mixtral8x7b.tt.mesh import open_mesh\nfrom models.mixtral8x7b.tt.model import Mixtral\n"
            "from models.mixtral8x7b.tt.precision import PERFORMANCE\n"
            "from models.mixtral8x7b.tt.weight_cache import CheckpointWeights\n"
            "# work\nwith open_mesh(8) as mesh:\n"
            f"    weights = CheckpointWeights(RepackedCheckpoint({str(repacked)!r}), mesh, Path({str(folder)!r}))\n"
            "    Mixtral(weights, mesh, PERFORMANCE, n_blocks=1, max_context=64)"
        )

    finished: dict[str, int] = {}

    def after_kill() -> None:
        files = CacheFolder(out).files
        now = inodes(out, "*.tensorbin")
        assert finished.items() <= now.items(), "a finished file was written again"
        assert [file for file in now if (out / file).read_bytes() != (cache / file).read_bytes()] == []
        finished.update({name: inode for name, inode in now.items() if name in files})
        assert len(list(out.glob("*.tmp"))) <= 1

    def start_over() -> None:
        shutil.rmtree(out)
        finished.clear()

    seconds = seconds_of(code(out.with_name("undisturbed")))
    run_with_kills(code(out), n_kills, 0.7 * seconds, after_kill, start_over)
    assert contents(out) == contents(cache)


def test_another_process_that_converts_is_waited_for_and_its_files_are_used(repacked: Path, copy: Path) -> None:
    """Here it does so between the start, which finds the cache empty, and the first file."""
    hidden = copy.with_name("hidden")
    copy.rename(hidden)
    with open_mesh(8) as mesh:
        weights = CheckpointWeights(RepackedCheckpoint(repacked), mesh, copy)
        hidden.rename(copy)
        before = inodes(copy, "*.tensorbin")
        logits(mesh, weights)
    assert inodes(copy, "*.tensorbin") == before


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
            with pytest.raises(CheckpointError, match="weight_cache.json is damaged .*; delete the folder"):
                CacheFolder(copy)
        else:
            assert CacheFolder(copy).problem(file.name).startswith("is damaged in"), (file.name, bit)
        flip(file, bit)
    assert in_index > 0
    assert contents(copy) == contents(cache)


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


def test_a_folder_that_is_not_writable_is_named(repacked: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with open_mesh(8) as mesh, pytest.raises(CheckpointError, match="is not writable .* set MIXTRAL_CACHE_PATH"):
        logits(mesh, CheckpointWeights(RepackedCheckpoint(repacked), mesh, tmp_path / "file" / "cache"))


# ---------------------------------------------------------------- without the checkpoint


def test_the_cache_alone_is_enough(repacked: Path, copy: Path) -> None:
    whole = RepackedCheckpoint(repacked)
    cached = CachedCheckpoint(copy)
    assert (cached.config, cached.flavour, cached.fingerprint) == (whole.config, whole.flavour, whole.fingerprint)
    assert cached.n_parameters() == whole.n_parameters()
    assert (cached.directory / "tokenizer.model").read_bytes() == b"pieces"
    with open_mesh(8) as mesh:
        fresh = logits(mesh, CheckpointWeights(whole, mesh, None))
        assert torch.equal(logits(mesh, CheckpointWeights(cached, mesh, copy)), fresh)
        with pytest.raises(CheckpointError, match="not in the weight cache .* and the checkpoint is gone; repack it"):
            logits(mesh, CheckpointWeights(cached, mesh, copy), ACCURACY)
    flip(copy / "tokenizer.model", 3)
    with pytest.raises(CheckpointError, match="tokenizer.model is damaged in part 0 of 1; set MIXTRAL_TOKENIZER_PATH"):
        CachedCheckpoint(copy)
    with pytest.raises(CheckpointError, match="is no weight cache"):
        CachedCheckpoint(repacked)
