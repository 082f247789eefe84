"""What is said where simulated chips cannot be had, and what they died of. No simulator is needed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from virtual_t3000 import VirtualChipsError, simulator
from virtual_t3000.simulator import find_library, prepare_simulator

REPOSITORY = Path(__file__).resolve().parents[2]

_DIES = """
import ctypes, os, sys
from pathlib import Path
from virtual_t3000.witness import start_witness
logs = start_witness(Path(sys.argv[1]))
(logs / "operation").write_bytes(b"ttnn.topk".ljust(256, b"\\0"))
libc = ctypes.CDLL(None)
print("seen", flush=True)
libc.printf(b"[12] INFO: hello\\n")
if sys.argv[2] == "dies":
    libc.printf(b"[6387] ERROR: UndefinedBehavior: tensix_unpacr: unpack_to_dst=0\\n")
libc.fflush(None)
os._exit(1)
"""


def ended(folder: Path, how: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _DIES, str(folder), how]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)


def test_the_witness_says_what_it_died_of(tmp_path: Path) -> None:
    done = ended(tmp_path, "dies")
    (logs,) = tmp_path.iterdir()
    assert done.stderr == (
        "the simulator gave up during ttnn.topk: UndefinedBehavior: tensix_unpacr: unpack_to_dst=0 "
        f"(its log: {logs}/simulator.log)\n"
    )
    assert (done.returncode, done.stdout) == (1, "seen\n"), "what the library prints is in the log alone"
    assert "INFO: hello" in (logs / "simulator.log").read_text()


def test_the_witness_is_silent_about_another_death_and_cleans_up(tmp_path: Path) -> None:
    done = ended(tmp_path, "otherwise")
    assert (done.stderr, list(tmp_path.iterdir())) == ("", [])


def test_a_library_that_is_none_gets_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(VirtualChipsError, match=r"is no simulator; expected libttsim\.so, or a folder with one of"):
        find_library(tmp_path, 1)
    (tmp_path / "libttsim_wh.so").write_text("no library" * 100)
    with pytest.raises(VirtualChipsError, match=r"libttsim_wh\.so is not a library of ttsim that runs here \(.*header"):
        find_library(tmp_path, 1)
    with pytest.raises(VirtualChipsError, match="2 simulated chips; expected one of 1, 8"):
        find_library(tmp_path, 2)


@pytest.mark.parametrize(
    ("behind_pcie", "n_chips", "sentence"),
    [
        (4, 1, r"simulates a T3000, not 1 Wormhole chip; name ttsim's libttsim_wh\.so"),
        (1, 8, r"simulates one Wormhole chip, not 8 Wormhole chips; name ttsim's libttsim_wh_x8\.so"),
        (0, 8, "simulates no Wormhole chip, not 8 Wormhole chips"),
    ],
)
def test_the_wrong_machine_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behind_pcie: int, n_chips: int, sentence: str
) -> None:
    (tmp_path / "libttsim.so").touch()
    monkeypatch.setattr(simulator, "_COUNT_CHIPS", f"import sys; sys.exit(64 + {behind_pcie})")
    with pytest.raises(VirtualChipsError, match=sentence):
        find_library(tmp_path / "libttsim.so", n_chips)


def test_a_folder_may_hold_both_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulator, "_COUNT_CHIPS", "import sys; sys.exit(68 if 'x8' in sys.argv[1] else 65)")
    for name in ("release_wh", "release_wh_x8"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "libttsim.so").touch()
    assert [find_library(tmp_path, n).parent.name for n in (1, 8)] == ["release_wh", "release_wh_x8"]


def test_another_ttnn_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulator, "installed_ttnn", lambda: tmp_path)
    monkeypatch.setattr(simulator, "version", lambda name: "0.99")
    for name in [name for name in os.environ if name.startswith("TT_")]:
        monkeypatch.delenv(name)
    with pytest.raises(
        VirtualChipsError, match=r"ttnn 0\.99 is installed; the simulator was seen to work with 0\.81\.1"
    ):
        prepare_simulator(tmp_path, tmp_path, tmp_path, 1)
