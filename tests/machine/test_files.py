"""File systems that do not map, lock or sync, and a process with few descriptors: the weights are read all the same.

What a machine here does not have is stood in for: by a library that is preloaded and refuses to map files (compiled by
the test), by functions of `fcntl` and `os` that refuse, and by a lowered limit.
"""

import errno
import fcntl
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from models.mixtral8x7b.checkpoint import download, tensor_files
from models.mixtral8x7b.checkpoint.hub import Repository
from models.mixtral8x7b.checkpoint.repack import repack
from models.mixtral8x7b.checkpoint.repacked import RepackedCheckpoint
from models.mixtral8x7b.checkpoint.source import SourceCheckpoint
from models.mixtral8x7b.checkpoint.tensor_files import UnreadableError, shapes_of, tensors_of
from models.mixtral8x7b.checkpoint.weights import CheckpointError
from models.mixtral8x7b.durable import exclusive, shared, write_text_durably
from tests.machine.limits import descriptors_left, n_descriptors
from tests.tiny_models import contents, random_model, small_config, write_consolidated, write_hf
from tests.tt.weight_cache_cases import warnings  # noqa: F401

ROOT = Path(__file__).resolve().parents[2]
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)
TENSORS = {
    "a": torch.arange(12, dtype=torch.float32).reshape(3, 4),
    "bf16": torch.randn(5, 7).bfloat16(),
    "fp8": torch.ones(4).to(torch.float8_e4m3fn),
    "empty": torch.empty(0, 3),
    "flag": torch.tensor(True),
}


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`pt`, `old` and `hf`: one model in three forms; `whole`: repacked."""
    folder = tmp_path_factory.mktemp("forms")
    model = random_model(small_config())
    write_consolidated(model, folder / "pt")
    write_hf(model, folder / "hf")
    shutil.copytree(folder / "pt", folder / "old")
    for file in (folder / "old").glob("*.pt"):
        torch.save(torch.load(file), file, _use_new_zipfile_serialization=False)
    repack(folder / "pt", folder / "whole")
    return folder


def equal(found: torch.Tensor, right: torch.Tensor) -> bool:
    return found.dtype == right.dtype and found.shape == right.shape and found.tolist() == right.tolist()


# ---------------------------------------------------------------- no mapping


@pytest.mark.parametrize("name", ["x.safetensors", "x.pt", "x.pth", "x.bin"])
@pytest.mark.parametrize("maps", [True, False])
def test_a_file_is_read_alike_with_and_without_mapping(name: str, maps: bool, tmp_path: Path, monkeypatch) -> None:
    if not maps:
        monkeypatch.setattr(tensor_files, "_is_mapped", lambda file: False)
    file = tmp_path / name
    whole = torch.arange(40, dtype=torch.float32).reshape(5, 8)
    views = {} if name.endswith("safetensors") else {"view": whole[1:4, 2:6].T, "other view": whole[::2]}
    (save_file if name.endswith("safetensors") else torch.save)(TENSORS | views, file)
    assert shapes_of(file) == {key: (tuple(value.shape), value.dtype) for key, value in (TENSORS | views).items()}
    found = tensors_of(file)
    assert found.keys() == (TENSORS | views).keys()
    assert all(equal(found[key], right) for key, right in (TENSORS | views).items())


def test_without_mapping_a_damaged_file_is_one_sentence(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(tensor_files, "_is_mapped", lambda file: False)
    for name, save in (("x.safetensors", save_file), ("x.pt", torch.save)):
        file = tmp_path / name
        save(TENSORS, file)
        good = file.read_bytes()
        for damaged in (b"", good[:7], good[:40], good[: len(good) // 2], b"\xff" * 200):
            file.write_bytes(damaged)
            with pytest.raises(CheckpointError, match=f"{name} cannot be read: it .* mend it") as refused:
                shapes_of(file, "mend it")
            assert not isinstance(refused.value, UnreadableError)
    huge = tmp_path / "huge.safetensors"
    huge.write_bytes((1 << 40).to_bytes(8, "little") + b"{}")
    with pytest.raises(CheckpointError, match="is truncated, or otherwise damaged"):
        shapes_of(huge)


def test_nothing_is_mapped_where_the_file_system_cannot(forms: Path, tmp_path: Path) -> None:
    """In a process of its own: every form is repacked, verified, converted and loaded in such a folder."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler for the library that refuses to map files")
    shim = tmp_path / "refuse_mapping.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", shim, Path(__file__).with_name("refuse_mapping.c"), "-ldl"], check=True
    )
    folder = Path(shutil.copytree(forms, tmp_path / "unmapped"))
    code = (
        "import mmap, sys\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "from pathlib import Path\n"
        "import torch\nimport tensorbin\n"
        "from models.mixtral8x7b.checkpoint.repack import repack\n"
        "from models.mixtral8x7b.checkpoint.repacked import RepackedCheckpoint\n"
        f"folder = Path({str(folder)!r})\n"
        "try:\n    mmap.mmap((folder / 'pt' / 'params.json').open('rb').fileno(), 0, access=mmap.ACCESS_READ)\n"
        "    sys.exit('the library is not in the way')\n"
        "except OSError:\n    pass\n"
        "for form in ('pt', 'old', 'hf'):\n"
        "    repack(folder / form, folder / f'{form} repacked')\n"
        "    assert RepackedCheckpoint(folder / f'{form} repacked').wrong_files() == {}\n"
        "header = tensorbin.Header((64, 64), tensorbin.DType.BFLOAT16, tensorbin.Layout.TILE, (1, 2), (0,))\n"
        "values = [torch.randn(64, 64).bfloat16() for _ in range(2)]\n"
        "packed = [tensorbin.pack(value, header.dtype, header.layout) for value in values]\n"
        "tensorbin.write(folder / 'x.tensorbin', header, packed)\n"
        "assert all(map(torch.equal, tensorbin.read_parts(folder / 'x.tensorbin', header), packed))\n"
    )
    environment = os.environ | {"LD_PRELOAD": str(shim), "UNMAPPED": str(folder)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    whole = contents(forms / "whole")
    for form in ("pt", "old"):
        made = contents(folder / f"{form} repacked")
        assert {name: made[name] for name in whole if name != "manifest.json"} == {
            name: content for name, content in whole.items() if name != "manifest.json"
        }


# ---------------------------------------------------------------- few descriptors


def check_whole(checkpoint: RepackedCheckpoint) -> None:
    assert checkpoint.wrong_files() == {}


def refusal(read: Callable[[], object]) -> str:
    """Why the system refuses to read; empty if it does not."""
    try:
        read()
    except UnreadableError as error:
        return str(error).split("cannot be read (")[1].split(":")[0]
    return ""


def test_a_file_that_the_process_cannot_open_is_not_called_damaged(forms: Path, tmp_path: Path) -> None:
    repacked = RepackedCheckpoint(forms / "whole")
    wanted = [*forms.glob("*/*.pt"), *forms.glob("*/*.safetensors")]
    for n in (0, 1):
        with descriptors_left(n):
            for file in wanted:
                assert refusal(lambda: tensors_of(file)) in ("", "Too many open files")  # noqa: B023
            assert refusal(lambda: check_whole(repacked)) in ("", "Too many open files")
    with descriptors_left(0):
        for open_it in (lambda: SourceCheckpoint(forms / "pt"), lambda: RepackedCheckpoint(forms / "whole")):
            with pytest.raises((CheckpointError, OSError), match="Too many open files"):
                open_it()


def test_a_file_without_permission_is_not_called_damaged(forms: Path, tmp_path: Path, monkeypatch) -> None:
    """Where the tests run as root nothing is forbidden: opening is refused by the function itself."""
    file = Path(shutil.copy(forms / "pt" / "consolidated.00.pt", tmp_path))
    original = Path.open

    def forbidden(self: Path, *arguments: object, **named: object):
        if self == file:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))
        return original(self, *arguments, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", forbidden)
    with pytest.raises(UnreadableError, match=r"consolidated.00.pt cannot be read \(Permission denied: .*; mend this"):
        tensors_of(file)


def test_a_hundred_shards_need_a_handful_of_descriptors(tmp_path: Path) -> None:
    write_hf(random_model(small_config(n_layers=4)), tmp_path / "hf")
    tensors = {}
    for file in (tmp_path / "hf").glob("model*"):
        tensors |= tensors_of(file) if file.suffix == ".safetensors" else {}
    tensors = {key: value.clone() for key, value in tensors.items()}
    for file in (tmp_path / "hf").glob("model*"):
        file.unlink()
    for n, (key, value) in enumerate(tensors.items()):
        save_file({key: value}, tmp_path / "hf" / f"model-{n + 1:05d}-of-{len(tensors):05d}.safetensors")
    kept = []
    before = n_descriptors()
    with descriptors_left(8):
        repack(tmp_path / "hf", tmp_path / "out")
        checkpoint = RepackedCheckpoint(tmp_path / "out")
        kept += [checkpoint.tensor(name) for name in checkpoint.names()]
    assert len(kept) > 60
    assert n_descriptors() == before


# ---------------------------------------------------------------- no locks, no sync of folders


@pytest.mark.parametrize("number", NO_LOCKS, ids=errno.errorcode.get)
def test_where_there_are_no_locks_reading_goes_on_and_writing_warns_once(
    number: int,
    forms: Path,
    tmp_path: Path,
    monkeypatch,
    warnings: list[str],
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    before = n_descriptors()
    with shared(forms / "whole"):
        pass
    assert warnings == []
    for _ in range(2):
        with exclusive(tmp_path / "out"):
            (tmp_path / "out" / "x").touch()
    assert [warning for warning in warnings if "has no locks; see to it that only one process" in warning] == warnings
    assert len(warnings) == 1
    repack(forms / "pt", tmp_path / "repacked")
    assert contents(tmp_path / "repacked") == contents(forms / "whole")
    assert n_descriptors() == before


def test_a_download_says_that_it_needs_locks(tmp_path: Path, monkeypatch) -> None:
    """huggingface_hub gives up there, as this stands for it."""

    def refuse(*arguments: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(download, "look_up", lambda *arguments: Repository("a/b", "c", {}))
    monkeypatch.setattr(download, "candidates", lambda *arguments: [])
    monkeypatch.setattr(download, "exclusive", refuse)
    with pytest.raises(CheckpointError, match="file system of .* has no locks, which huggingface_hub needs; fetch"):
        download.download("a/b", tmp_path, "main", print)


def test_another_refusal_of_a_lock_is_an_error_and_leaves_no_descriptor(tmp_path: Path, monkeypatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", refuse)
    before = n_descriptors()
    for hold in (shared, exclusive):
        with pytest.raises(OSError, match="Input/output error"), hold(tmp_path):
            pass
    assert n_descriptors() == before


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EIO], ids=errno.errorcode.get)
def test_a_folder_that_cannot_be_synced_is_no_error(number: int, forms: Path, tmp_path: Path, monkeypatch) -> None:
    original = os.fsync

    def refuse_folders(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        original(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    if number == errno.EIO:
        with pytest.raises(CheckpointError, match=r"out: Input/output error; run again when this is mended$"):
            repack(forms / "pt", tmp_path / "out")
        return
    repack(forms / "pt", tmp_path / "out")
    assert contents(tmp_path / "out") == contents(forms / "whole")


def test_a_file_that_cannot_be_synced_is_an_error(tmp_path: Path, monkeypatch) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="Invalid argument"):
        write_text_durably(tmp_path / "a", "text")
    assert contents(tmp_path) == {}


# ---------------------------------------------------------------- paths that are not UTF-8


def test_a_path_that_is_not_utf8_is_refused_before_anything_is_written(forms: Path, tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"\xff")
    with pytest.raises(CheckpointError, match="is a path that is not UTF-8; rename it"):
        repack(forms / "pt", odd / "out")
    assert not odd.exists()
    shutil.copytree(forms / "pt", odd)
    for read in (lambda: repack(odd, tmp_path / "out"), lambda: RepackedCheckpoint(odd)):
        with pytest.raises(CheckpointError, match="is a path that is not UTF-8; rename it"):
            read()
    assert not (tmp_path / "out").exists()
