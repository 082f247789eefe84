"""The weight cache: cached equals fresh bit for bit, resumed, shared, enough without the checkpoint.

.venv/bin/python -m pytest tests/tt/test_weight_cache.py
"""

import json
import threading
from pathlib import Path

import pytest
import torch

from models.mixtral8x7b.checkpoint.cache_folder import INDEX
from models.mixtral8x7b.checkpoint.cached import CachedCheckpoint
from models.mixtral8x7b.checkpoint.repacked import RepackedCheckpoint
from models.mixtral8x7b.checkpoint.weights import CheckpointError
from models.mixtral8x7b.durable import exclusive
from models.mixtral8x7b.tt.mesh import open_mesh
from models.mixtral8x7b.tt.precision import ACCURACY, PRESETS
from models.mixtral8x7b.tt.weight_cache import CheckpointWeights, cache_folder
from tests.checkpoint.kills import inodes
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
        for precision in PRESETS.values():
            fresh = logits(mesh, CheckpointWeights(checkpoint, mesh, None), precision)
            for cache_only in (False, True):
                weights = CheckpointWeights(checkpoint, mesh, copy, cache_only)
                assert torch.equal(logits(mesh, weights, precision), fresh)
    names = {file.name for file in copy.iterdir()}
    assert {name for name in names if name.startswith("layers.0.feed_forward.experts.slot0.")} == {
        EXPERT.replace("w1_dtype_BFLOAT8_B", f"{w}_dtype_BFLOAT{n_bits}_B")
        for w in ("w1", "w2", "w3")
        for n_bits in (4, 8)
    }
    assert {WO, WO.replace("BFLOAT8_B", "BFLOAT16")} <= names
    assert WO.replace("BFLOAT8_B", "BFLOAT4_B") not in names


def test_folder_names_are_the_original_demos() -> None:
    assert cache_folder(Path("c"), "base") == Path("c/mixtral_tensor_cache_bfp8")
    assert cache_folder(Path("c"), "instruct") == Path("c/mixtral_tensor_cache_instruct_bfp8")


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


def test_another_process_that_converts_is_waited_for_and_its_files_are_used(repacked: Path, copy: Path) -> None:
    hidden = copy.with_name("hidden")
    copy.rename(hidden)
    with open_mesh(8) as mesh:
        weights = CheckpointWeights(RepackedCheckpoint(repacked), mesh, copy)  # finds no cache
        with exclusive(copy):
            converting = threading.Thread(target=logits, args=(mesh, weights))
            converting.start()
            converting.join(0.5)
            assert converting.is_alive()
            assert list(copy.iterdir()) == []
            for file in hidden.iterdir():
                file.rename(copy / file.name)
            before = inodes(copy, "*")
        converting.join()
    assert inodes(copy, "*") == before


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
    with open_mesh(8) as mesh:
        CheckpointWeights(cached, mesh, copy)  # starts, as with MIXTRAL_TOKENIZER_PATH, and does not make it right
    with pytest.raises(CheckpointError, match="tokenizer.model is damaged in part 0 of 1; set MIXTRAL_TOKENIZER_PATH"):
        CachedCheckpoint(copy).check_tokenizer()
    with pytest.raises(CheckpointError, match="is no weight cache"):
        CachedCheckpoint(repacked)
