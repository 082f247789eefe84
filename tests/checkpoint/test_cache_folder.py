"""The files of a weight cache, written and checked however little the system takes or gives at a time."""

import os
from pathlib import Path

import pytest
import torch

import tensorbin
from models.mixtral8x7b.checkpoint import cache_folder
from models.mixtral8x7b.checkpoint.cache_folder import CacheFolder, Identity, Source

NAME = "x.tensorbin"
HEADER = tensorbin.Header((3, 100), tensorbin.DType.BFLOAT16, tensorbin.Layout.ROW_MAJOR, (1, 2), (0,))  # 600 bytes
PARTS = torch.randn(2, 3, 100).bfloat16()


@pytest.fixture
def cache(tmp_path: Path) -> CacheFolder:
    cache = CacheFolder(tmp_path / "cache")
    identity = Identity(cache_folder.FORMAT_VERSION, "fingerprint", 1, "1x2", tensorbin.TTNN_VERSION)
    cache.write(NAME, HEADER, PARTS.__getitem__, identity, Source("base", {}, 600), tmp_path)
    return cache


@pytest.fixture
def little_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call reads or writes at most 70 bytes, as one of 3 GB would 2 GB."""
    read, write = os.preadv, os.pwrite
    monkeypatch.setattr(os, "preadv", lambda file, buffers, at: read(file, [buffers[0][:70]], at))
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: write(file, data[:70], at))


@pytest.mark.usefixtures("little_at_a_time")
def test_what_is_written_in_pieces_is_whole(cache: CacheFolder) -> None:
    parts = tensorbin.read_parts(cache.folder / NAME, tensorbin.read_header(cache.folder / NAME))
    for part, values in zip(parts, PARTS, strict=True):
        assert torch.equal(part, tensorbin.pack(values, HEADER.dtype, HEADER.layout))


@pytest.mark.parametrize("at_once", [64, 100, 1 << 20])
@pytest.mark.usefixtures("little_at_a_time")
def test_every_byte_is_checked_whatever_is_read_at_a_time(
    at_once: int, cache: CacheFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_folder, "READ_BYTES", at_once)
    assert cache.problem(NAME) == ""
    good = (cache.folder / NAME).read_bytes()
    first = len(good) - HEADER.data_bytes
    for place in range(first, len(good), 7):
        (cache.folder / NAME).write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        assert cache.problem(NAME) == f"is damaged in part {(place - first) // HEADER.part_stride} of 2"


def test_a_file_that_becomes_shorter_while_it_is_read_is_damaged(
    cache: CacheFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "preadv", lambda file, buffers, at: 0)
    assert cache.problem(NAME) == "is damaged in part 0 of 2"
