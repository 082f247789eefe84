"""The weight cache on a disk that gets full, and in a process with few descriptors."""

import errno
import os
from pathlib import Path

import pytest

from models.mixtral8x7b.checkpoint.cache_folder import INDEX, CacheFolder
from models.mixtral8x7b.checkpoint.repacked import RepackedCheckpoint
from models.mixtral8x7b.checkpoint.weights import CheckpointError
from models.mixtral8x7b.tt.mesh import open_mesh
from models.mixtral8x7b.tt.model import Mixtral
from models.mixtral8x7b.tt.precision import PERFORMANCE
from models.mixtral8x7b.tt.weight_cache import CheckpointWeights
from tests.checkpoint.kills import inodes
from tests.machine.limits import descriptors_left, n_descriptors
from tests.tt.weight_cache_cases import cache, copy, logits, repacked  # noqa: F401


def test_a_disk_that_gets_full_leaves_no_half_file(repacked: Path, tmp_path: Path, monkeypatch) -> None:
    """Writing is refused after a while by the function itself."""
    original, cache = os.pwrite, tmp_path / "cache"
    room = 150_000

    def until_full(descriptor: int, data: memoryview, start: int) -> int:
        nonlocal room
        room -= len(data)
        if room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(descriptor, data, start)

    with open_mesh(8) as mesh:
        with monkeypatch.context() as patched:
            patched.setattr(os, "pwrite", until_full)
            with pytest.raises(
                CheckpointError, match=r"cannot be written \(No space left on device\); mend this, or set"
            ):
                logits(mesh, CheckpointWeights(RepackedCheckpoint(repacked), mesh, cache))
        there = CacheFolder(cache)
        assert there.files
        assert {name: there.problem(name) for name in there.files} == dict.fromkeys(there.files, "")
        assert {file.name for file in cache.iterdir()} == there.files.keys() | {INDEX}
        logits(mesh, CheckpointWeights(RepackedCheckpoint(repacked), mesh, cache))


def test_what_the_process_lacks_is_no_fault_of_the_cache(copy: Path, repacked: Path) -> None:
    before = inodes(copy, "*")
    with open_mesh(8) as mesh:
        weights = CheckpointWeights(RepackedCheckpoint(repacked), mesh, copy)
        with descriptors_left(0), pytest.raises(OSError, match="Too many open files"):
            logits(mesh, weights)
        with descriptors_left(0), pytest.raises(CheckpointError, match=r"cannot be read \(Too many open files"):
            CacheFolder(copy)
    assert inodes(copy, "*") == before


def test_a_start_keeps_no_file_open(copy: Path, repacked: Path) -> None:
    with open_mesh(8) as mesh:
        before = n_descriptors()
        with descriptors_left(4):
            weights = CheckpointWeights(RepackedCheckpoint(repacked), mesh, copy, cache_only=True)
            model = Mixtral(weights, mesh, PERFORMANCE, n_blocks=1, max_context=64)
        assert n_descriptors() == before
        del model
