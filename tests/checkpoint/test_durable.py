"""Whole files or none: the lock of a folder, temporary files, names given last."""

import threading
from pathlib import Path

import pytest

from models.mixtral8x7b.durable import (
    SPARE_BYTES,
    BusyError,
    DiskFullError,
    check_free_space,
    exclusive,
    no_temporaries,
    shared,
    write_durably,
    write_text_durably,
)
from models.mixtral8x7b.sizes import size_text
from tests.tiny_models import contents


def test_an_error_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_text_durably(file, "old")

    def half(temporary: Path) -> None:
        temporary.write_text("ne")
        raise OSError("stopped")

    with pytest.raises(OSError, match="stopped"):
        write_durably(file, half)
    assert contents(tmp_path) == {"a.json": b"old"}
    write_text_durably(file, "new")
    assert contents(tmp_path) == {"a.json": b"new"}


def test_one_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    done = threading.Event()

    def second() -> None:
        with exclusive(folder, wait=True):
            assert folder.is_dir(), "the first has removed the folder, which was new and empty"
            done.set()

    waiting = threading.Thread(target=second)
    with exclusive(folder):
        with pytest.raises(BusyError, match="another process is writing to"), exclusive(folder):
            pass
        assert folder.is_dir()
        waiting.start()
        assert not done.wait(0.2)
    waiting.join()
    assert done.is_set()


def test_many_read_at_once(tmp_path: Path) -> None:
    done = threading.Event()

    def second() -> None:
        with shared(tmp_path):
            done.set()

    reading = threading.Thread(target=second)
    with shared(tmp_path):
        reading.start()
        both = done.wait(10)
    reading.join()
    assert both


def test_a_new_folder_goes_if_nothing_came_into_it_and_an_old_one_stays(tmp_path: Path) -> None:
    with exclusive(tmp_path / "new"):
        pass
    assert not (tmp_path / "new").exists()
    (tmp_path / "old").mkdir()
    with exclusive(tmp_path / "old"):
        pass
    assert (tmp_path / "old").is_dir()


def test_temporary_files_go_before_and_after(tmp_path: Path) -> None:
    for name in ("a.tmp", ".tmpAbCdEf", "kept", ".tmpkept"):
        (tmp_path / name).write_text("")
    with no_temporaries(tmp_path):
        assert sorted(contents(tmp_path)) == [".tmpkept", "kept"]
        (tmp_path / "b.tmp").write_text("")
    assert sorted(contents(tmp_path)) == [".tmpkept", "kept"]
    (tmp_path / "folder.tmp").mkdir()
    with no_temporaries(tmp_path):
        assert (tmp_path / "folder.tmp").is_dir(), "somebody else's"


def test_room_is_counted_where_the_folder_will_be(tmp_path: Path) -> None:
    check_free_space(tmp_path / "not" / "yet" / "there", 1000)
    refused = r"there needs 1,000,000,000.0 GB with 67.1 MB left free beside it, and its disk has [\d.,]+ GB free; make"
    with pytest.raises(DiskFullError, match=refused):
        check_free_space(tmp_path / "there", 10**18)


def test_sizes_have_a_unit_that_fits() -> None:
    sizes = (0, 999, 1000, 3_000_000, 67_108_864, 93_400_000_000)
    assert list(map(size_text, sizes)) == ["0 bytes", "999 bytes", "1.0 kB", "3.0 MB", "67.1 MB", "93.4 GB"]


def test_on_a_small_disk_both_sizes_and_the_reserve_are_said(tmp_path: Path, monkeypatch) -> None:
    class Usage:
        free = 3_000_000

    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage)
    sentence = "needs 40.0 kB with 67.1 MB left free beside it, and its disk has 3.0 MB free; make room or"
    with pytest.raises(DiskFullError, match=sentence):
        check_free_space(tmp_path, 40_000)
    Usage.free = SPARE_BYTES + 40_000
    check_free_space(tmp_path, 40_000)
    with pytest.raises(DiskFullError):
        check_free_space(tmp_path, 40_001)
