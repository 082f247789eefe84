"""A repack that is killed, out of room or disturbed: whole files only, nothing redone, the same result.

.venv/bin/python -m pytest tests/checkpoint/test_resume.py
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from models.mixtral8x7b.checkpoint.repack import repack
from models.mixtral8x7b.checkpoint.repack_journal import Entries, Journal
from models.mixtral8x7b.checkpoint.repacked import RepackedCheckpoint
from models.mixtral8x7b.checkpoint.source import SourceCheckpoint
from models.mixtral8x7b.checkpoint.unmapped_files import in_safetensors
from models.mixtral8x7b.checkpoint.weights import CheckpointError
from models.mixtral8x7b.durable import exclusive
from tests.checkpoint.kills import ROOT, inodes, run_with_kills, seconds_of
from tests.tiny_models import contents, random_model, small_config, write_consolidated, write_per_expert

N_LAYERS = 6
MB = 1_000_000


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`source` and its repacked form `whole`: 6 layers of 27 MB."""
    folder = tmp_path_factory.mktemp("large")
    config = small_config(n_layers=N_LAYERS, dim=512, hidden_dim=2048)
    write_consolidated(random_model(config), folder / "source", n_files=4)
    repack(folder / "source", folder / "whole")
    return folder


def check_kills(large: Path, out: Path, n_kills: int) -> None:
    whole = contents(large / "whole")

    def code(to: Path) -> str:
        return (
            "from pathlib import Path\nfrom models.mixtral8x7b.checkpoint.repack import repack\n"
            f"# work\nrepack(Path({str(large / 'source')!r}), Path({str(to)!r}))"
        )

    finished: dict[str, int] = {}

    def after_kill() -> None:
        now = inodes(out, "*.safetensors")
        assert finished.items() <= now.items(), "a finished file was written again"
        for name in now.keys() - finished.keys():
            assert (out / name).read_bytes() == whole[name], "a half file has a final name"
        finished.update(now)
        # one file being written, one being synced and the journal: more would be of earlier runs
        assert len(list(out.glob("*.tmp")) + list(out.glob(".tmp*"))) <= 3

    def start_over() -> None:
        shutil.rmtree(out)
        finished.clear()

    seconds = seconds_of(code(out.with_name("undisturbed")))
    run_with_kills(code(out), n_kills, 0.7 * seconds, after_kill, start_over)
    assert contents(out) == whole
    assert finished.items() <= inodes(out, "*.safetensors").items()


def test_killed_at_random_points_it_goes_on_and_ends_the_same(large: Path, tmp_path: Path) -> None:
    """20 kills: tests/long."""
    check_kills(large, tmp_path / "out", 5)


def test_a_second_run_into_one_folder_at_once_is_refused(large: Path, tmp_path: Path) -> None:
    with (
        exclusive(tmp_path / "out"),
        pytest.raises(CheckpointError, match="another process is writing to .*out; wait for it to end"),
    ):
        repack(large / "source", tmp_path / "out")


def test_what_a_killed_run_left_is_removed(large: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "layers.03.safetensors.tmp").write_bytes(b"half")
    (out / ".tmpYIPiI5").write_bytes(b"half, under safetensors' name")
    repack(large / "source", out)
    assert contents(out) == contents(large / "whole")


def test_too_little_room_is_said_before_anything_is_written(large: Path, tmp_path: Path, monkeypatch) -> None:
    class Usage:
        free = 100 * MB

    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage)
    with pytest.raises(CheckpointError, match=r"out needs 1\d\d.\d MB .* disk has 100.0 MB free; make room or choose"):
        repack(large / "source", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_disk_that_gets_full_keeps_the_finished_files(large: Path, tmp_path: Path, monkeypatch) -> None:
    from models.mixtral8x7b.checkpoint import repack as module

    def until_layer_2(values: dict, file: Path) -> None:
        if "layers.02" in file.name:
            file.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        save_file(values, file)

    save_file = module.save_file
    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(module, "save_file", until_layer_2)
        with pytest.raises(CheckpointError, match="cannot write to .*No space left on device; run again when this is"):
            repack(large / "source", out)
    names = ["globals.safetensors", "layers.00.safetensors", "layers.01.safetensors", "unfinished.json"]
    assert sorted(contents(out)) == names
    before = inodes(out, "*.safetensors")
    repack(large / "source", out)
    assert contents(out) == contents(large / "whole")
    assert before.items() <= inodes(out, "*.safetensors").items()


def test_a_source_file_fetched_again_makes_it_start_over(tmp_path: Path, monkeypatch) -> None:
    """Killed where a file of the first run still has the name under which the second's entry is in the journal."""
    from models.mixtral8x7b.checkpoint import repack as module
    from models.mixtral8x7b.checkpoint import source as source_module

    monkeypatch.setattr(source_module, "SAMPLE_BYTES", 16)
    write_per_expert(random_model(small_config()), tmp_path / "source")
    out, file = tmp_path / "out", tmp_path / "source" / "consolidated.safetensors"

    def stopped_at(name: str) -> None:
        def give_name(file: Path) -> None:
            if file.name == name:
                raise OSError("stopped")
            write(file)

        write = module.give_name
        with monkeypatch.context() as patched:
            patched.setattr(module, "give_name", give_name)
            with pytest.raises(CheckpointError, match="stopped"):
                repack(tmp_path / "source", out)

    stopped_at("layers.01.safetensors")
    identity, content = SourceCheckpoint(tmp_path / "source").identity(), bytearray(file.read_bytes())
    content[in_safetensors(file)["layers.0.attention.wq.weight"].start + 40] ^= 1  # which the second run writes
    file.write_bytes(content)
    assert SourceCheckpoint(tmp_path / "source").identity() == identity, "the bit is where no sample is taken"
    stopped_at("layers.00.safetensors")
    repack(tmp_path / "source", out)
    repack(tmp_path / "source", tmp_path / "whole")
    assert contents(out) == contents(tmp_path / "whole")
    assert RepackedCheckpoint(out).wrong_files() == {}


def test_a_file_is_on_disk_before_it_is_in_the_journal_and_in_the_journal_before_it_has_its_name(
    tmp_path: Path, monkeypatch
) -> None:
    """So that nothing is lost whenever the power goes."""
    from models.mixtral8x7b.checkpoint import repack as module

    seen: list[tuple[str, str]] = []
    sync, add, give_name = module.sync, Journal.add, module.give_name

    def synced(path: Path) -> None:
        sync(path)
        seen.append(("synced", path.name.removesuffix(".tmp")))

    def added(journal: Journal, entries: Entries) -> None:
        seen.extend(("in the journal", name) for name in {entry["file"] for entry in entries.values()})
        add(journal, entries)

    def named(file: Path) -> None:
        give_name(file)
        seen.append(("named", file.name))

    monkeypatch.setattr(module, "sync", synced)
    monkeypatch.setattr(Journal, "add", added)
    monkeypatch.setattr(module, "give_name", named)
    write_per_expert(random_model(small_config()), tmp_path / "source")
    repack(tmp_path / "source", tmp_path / "out")
    files = ("globals.safetensors", "layers.00.safetensors", "layers.01.safetensors")
    assert seen == [(what, file) for file in files for what in ("synced", "in the journal", "named")]


def test_on_a_finished_folder_it_writes_what_is_gone_and_nothing_else(large: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    repack(large / "source", out)
    (out / "layers.04.safetensors").unlink()
    before = inodes(out, "*.safetensors")
    (out / "layers.05.safetensors").write_bytes(b"")
    (out / "layers.00.safetensors").write_bytes((out / "layers.00.safetensors").read_bytes()[:-1])
    before = {name: inode for name, inode in before.items() if "00" not in name and "05" not in name}
    repack(large / "source", out)
    assert before.items() <= inodes(out, "*.safetensors").items()
    assert contents(out) == contents(large / "whole")


def test_memory_holds_one_layer_of_many(large: Path, tmp_path: Path) -> None:
    """VmHWM: the peak of resident memory, mapped pages of files too. (ru_maxrss would begin at the parent's.)"""
    code = (
        f"import re, sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from pathlib import Path\nfrom models.mixtral8x7b.checkpoint.repack import repack\n"
        "peak = lambda: 1024 * int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])\n"
        f"before = peak(); repack(Path({str(large / 'source')!r}), Path({str(tmp_path / 'out')!r})); "
        "print(peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    layer = (large / "whole" / "layers.00.safetensors").stat().st_size
    assert layer < int(done.stdout) < 2.5 * layer, "the whole is six layers"


def test_verify_names_every_wrong_file(large: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    repack(large / "source", out)
    assert RepackedCheckpoint(out).wrong_files() == {}
    flipped = bytearray((out / "layers.01.safetensors").read_bytes())
    flipped[-1] ^= 1
    (out / "layers.01.safetensors").write_bytes(flipped)
    (out / "layers.02.safetensors").unlink()
    (out / "params.json").write_text((out / "params.json").read_text() + "\n")
    (out / "globals.safetensors").write_bytes((out / "globals.safetensors").read_bytes()[:-8])
    wrong = RepackedCheckpoint(out).wrong_files()
    assert {file: len(names) for file, names in wrong.items()} == {
        "globals.safetensors": 3,
        "layers.01.safetensors": 1,
        "layers.02.safetensors": 7 + 3 * 4,
        "params.json": 1,
    }
    script = [sys.executable, str(ROOT / "scripts" / "repack_weights.py"), "--verify", str(out)]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"{out / 'layers.02.safetensors'} is wrong" in done.stderr
    assert "4 wrong files; delete them and repack again" in done.stderr
    for file in wrong:
        (out / file).unlink(missing_ok=True)
    repack(large / "source", out)
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert contents(out) == contents(large / "whole")
