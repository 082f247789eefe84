"""The mock keeps to its own folder, wherever everything else lies, and is whole or rebuilt."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import virtual_t3000
from tests.mock.records import REPOSITORY
from virtual_t3000 import VirtualChipsError, mock, private_folder, runtime_root
from virtual_t3000.runtime_root import COMPILER, installed_ttnn, make_root

OPEN_A_MESH_AND_ADD = """
from models.mixtral8x7b.target import use_target
use_target("mock")
import torch, ttnn
from models.mixtral8x7b.tt.mesh import open_mesh
with open_mesh(8) as mesh:
    x = mesh.put(torch.ones(1, 1, 32, 64), ttnn.bfloat8_b, ttnn.TILE_LAYOUT)
    total = ttnn.add(x, x)
    print(list(total.shape), len(ttnn.get_device_tensors(total)), list(mesh.read_replicated(total).shape))
"""
IT_RAN = "[1, 1, 32, 64] 8 [1, 1, 32, 64]\n"
CLONE = ("models", "ttnn_cpu", "virtual_t3000", ".venv")
_VARIABLES = ("TT_", "TTNN_", "MIXTRAL_", "XDG_", "LOGURU_")


def start(code: str, clone: Path = REPOSITORY, cwd: Path | None = None, **variables: str) -> subprocess.Popen[str]:
    """Python of the clone's environment, in `cwd`, as if no mock had been set up in this process."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_VARIABLES)}
    python = clone / ".venv" / "bin" / "python"
    return subprocess.Popen(
        [str(python) if python.exists() else sys.executable, "-c", code],
        cwd=cwd or clone,
        env={**inherited, "PYTHONPATH": str(clone), "PYTHONDONTWRITEBYTECODE": "1", **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> str:
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return output


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of every file, links not followed."""
    found = {}
    for directory, names, files in os.walk(folder):
        names[:] = [name for name in names if name != "__pycache__"]
        for name in files:
            status = Path(directory, name).lstat()
            found[os.path.join(directory, name)] = (status.st_size, status.st_mtime_ns)
    return found


def test_spaces_everywhere_and_nothing_written_elsewhere(tmp_path: Path) -> None:
    clone, home, cwd, temporary = (tmp_path / name for name in ("a clone", "my home", "some where", "tmp"))
    for folder in (clone, home, cwd, temporary):
        folder.mkdir()
    for name in CLONE:
        (clone / name).symlink_to(REPOSITORY / name)
    watched = (installed_ttnn(), *(REPOSITORY / name for name in CLONE[:-1]), home, cwd)
    before = [listing(folder) for folder in watched]
    variables = {
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "TT_METAL_CACHE": str(cwd / "kernels of real chips"),
        "TT_METAL_HOME": str(cwd / "a checkout of tt-metal"),
    }
    assert ended(start(OPEN_A_MESH_AND_ADD, clone, cwd, **variables)) == IT_RAN
    assert [listing(folder) for folder in watched] == before
    assert not list(home.rglob("*")) + list(cwd.rglob("*"))
    (own,) = temporary.glob("virtual-t3000-*")
    (root,) = own.iterdir()
    assert list((root / "kernels").rglob("*.elf")), "the folder of a home with a space is in the temporary directory"
    assert not list((root / "logs").iterdir()), "what ttnn writes to generated/ went here and is gone"


def test_two_processes_at_once(tmp_path: Path) -> None:
    both = [start(OPEN_A_MESH_AND_ADD, XDG_CACHE_HOME=str(tmp_path)) for _ in range(2)]
    assert [ended(process) for process in both] == [IT_RAN] * 2
    assert len(list((tmp_path / "mixtral8x7b-ttnn").iterdir())) == 1


def _is_gone(root: Path) -> None:
    shutil.rmtree(root)


def _is_a_file(root: Path) -> None:
    shutil.rmtree(root)
    root.write_text("")


def _lacks_a_link(root: Path) -> None:
    (root / "tt_metal").unlink()


def _has_another_link(root: Path) -> None:
    (root / "tt_metal").unlink()
    (root / "tt_metal").symlink_to("/")


def _has_half_a_descriptor(root: Path) -> None:
    os.truncate(root / "t3000.yaml", 100)


def _has_another_compiler(root: Path) -> None:
    (root / COMPILER).write_text("#!/bin/sh\n")


def _compiler_does_not_start(root: Path) -> None:
    (root / COMPILER).chmod(0o644)


DAMAGES = (
    *(_is_gone, _is_a_file, _lacks_a_link, _has_another_link),
    *(_has_half_a_descriptor, _has_another_compiler, _compiler_does_not_start),
)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__[1:])
def test_a_damaged_root_is_rebuilt(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    root = make_root(tmp_path, None)
    whole = set(listing(root))
    (root / "kernels" / "mark").touch()
    assert make_root(tmp_path, None) == root
    assert (root / "kernels" / "mark").exists(), "a whole one stays"
    damage(root)
    assert make_root(tmp_path, None) == root
    assert set(listing(root)) == whole
    assert os.access(root / COMPILER, os.X_OK)
    assert list(tmp_path.iterdir()) == [root]


def test_another_content_gets_another_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    roots = {make_root(tmp_path, None)}
    monkeypatch.setattr(runtime_root, "descriptor", lambda: "another")
    roots.add(make_root(tmp_path, None))
    monkeypatch.setattr(runtime_root, "version", lambda name: "0.99")
    roots.add(make_root(tmp_path, None))
    assert len(roots) == 3


def test_the_stand_in_refuses_real_chips(tmp_path: Path) -> None:
    compiler, output = make_root(tmp_path, None) / COMPILER, tmp_path / "kernel.elf"
    mocked = {"TT_METAL_MOCK_CLUSTER_DESC_PATH": "t3000.yaml"}
    refused = subprocess.run([compiler, "-o", output], env={}, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "serves mocked chips only" in refused.stderr
    assert not output.exists()
    subprocess.run([compiler, "-o", output], env=mocked | {"PATH": os.environ["PATH"]}, check=True)
    assert output.read_bytes().startswith(b"\x7fELF")


def test_a_real_compiler_is_used_instead(tmp_path: Path) -> None:
    """MIXTRAL_SFPI's compiler, which writes down how it is called and has the stand-in do the work."""
    stand_in = make_root(tmp_path / "stand-in", None) / COMPILER
    sfpi, log, cache = tmp_path / "an sfpi", tmp_path / "log", tmp_path / "cache"
    compiler = sfpi / "compiler" / "bin" / stand_in.name
    compiler.parent.mkdir(parents=True)
    version = '[ "$1" != --version ] || { echo "riscv-tt-elf-g++ (tenstorrent/sfpi:0.1[1])"; exit; }'
    compiler.write_text(f'#!/bin/sh\n{version}\necho "$*" >>{log}\nexec {stand_in} "$@"\n')
    compiler.chmod(0o755)
    assert ended(start(OPEN_A_MESH_AND_ADD, XDG_CACHE_HOME=str(cache), MIXTRAL_SFPI=str(sfpi))) == IT_RAN
    calls = log.read_text().splitlines()
    kernels = {program.parent for program in cache.rglob("*.elf")}
    assert "eltwise_binary_no_bcast" in {kernel.parents[1].name for kernel in kernels}
    for kernel in kernels:
        linked = [call for call in calls if f" -o {kernel}/" in call and call.endswith(".elf")]
        assert linked, "by the compiler of the folder"


def test_a_folder_without_a_compiler_gets_one_sentence(tmp_path: Path) -> None:
    use = "from models.mixtral8x7b.target import TargetError, use_target\n"
    attempt = "try: use_target('mock')\nexcept TargetError as error: print(error)\n"
    output = ended(start(use + attempt, XDG_CACHE_HOME=str(tmp_path), MIXTRAL_MOCK_SFPI=str(tmp_path)))
    sentence = f"{tmp_path} holds no SFPI compiler (compiler/bin/riscv-tt-elf-g++)"
    assert output.startswith(f"cannot use target mock: {sentence}; set MIXTRAL_SFPI to another one, or fetch one with")


def test_where_it_cannot_run_it_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_root, "find_spec", lambda name: None)
    with pytest.raises(
        VirtualChipsError, match="not installed; its wheels are for Linux on x86-64 with Python 3.10 or 3.12"
    ):
        make_root(tmp_path, None)
    monkeypatch.undo()
    monkeypatch.setenv("TT_METAL_SIMULATOR", "/somewhere")
    with pytest.raises(VirtualChipsError, match="TT_METAL_SIMULATOR would change which chips there are; unset it"):
        virtual_t3000.prepare_mock(tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(private_folder, "_temporary_folders", lambda: [tmp_path / "no where"])
    with pytest.raises(VirtualChipsError, match="no folder to keep the chips' files in: tried .*a b.*no where"):
        make_root(tmp_path / "a b", None)


def test_targets_do_not_mix(tmp_path: Path) -> None:
    use = "from models.mixtral8x7b.target import TargetError, use_target\n"
    attempt = "try: use_target({!r})\nexcept TargetError as error: print(error)\n"
    twice = use + "use_target('mock')\nuse_target('mock')\nimport ttnn\nuse_target('mock')\n"
    output = ended(start(twice + attempt.format("device") + attempt.format("cpu"), XDG_CACHE_HOME=str(tmp_path)))
    device, cpu = output.splitlines()
    assert device.startswith("cannot use target device: TT_METAL_MOCK_CLUSTER_DESC_PATH is set")
    assert cpu.startswith("cannot use target cpu: the real ttnn is already imported")
    missing = "import virtual_t3000.runtime_root as root\nroot.find_spec = lambda name: None\n"
    output = ended(start(use + missing + attempt.format("mock"), XDG_CACHE_HOME=str(tmp_path)))
    assert output.startswith("cannot use target mock: the ttnn package is not installed")
    output = ended(start(use + "import ttnn\n" + attempt.format("mock"), LOGURU_LEVEL="ERROR"))
    assert output == "cannot use target mock: ttnn is already imported, on other chips\n"


def test_only_the_owner_removes_its_logs(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    mock._remove(tmp_path / "logs", os.getpid() + 1)
    assert (tmp_path / "logs").exists()
    mock._remove(tmp_path / "logs", os.getpid())
    assert not (tmp_path / "logs").exists()


def test_another_target_leaves_the_tier_out_and_says_so() -> None:
    command = [sys.executable, "-m", "pytest", "--target", "cpu", "-q", "-p", "no:cacheprovider", "tests/mock"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_VARIABLES)}
    run = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, run.stdout
    assert "left out: tests/mock, the real ttnn on a mocked T3000 (it runs alone: pytest --target mock" in run.stdout


def test_fast_dispatch_is_not_mocked_where_the_environment_says_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TT_METAL_SLOW_DISPATCH_MODE", "1")
    with pytest.raises(VirtualChipsError, match="cannot mock fast dispatch: TT_METAL_SLOW_DISPATCH_MODE is set; unset"):
        virtual_t3000.prepare_mock(tmp_path, fast_dispatch=True)
    monkeypatch.delenv("TT_METAL_SLOW_DISPATCH_MODE")
    variables = virtual_t3000.prepare_mock(tmp_path, fast_dispatch=True)
    assert "TT_METAL_SLOW_DISPATCH_MODE" not in variables
    assert Path(variables["TT_METAL_MOCK_CLUSTER_DESC_PATH"]).read_text().count("n150") == 16
