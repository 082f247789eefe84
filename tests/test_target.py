"""Which ttnn a process gets."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from models.mixtral8x7b.target import TARGETS, TargetError, builds_programs, can_trace, default_target, use_target

ROOT = Path(__file__).resolve().parents[1]


def python(code: str, **variables: str) -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MIXTRAL_")} | variables
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_the_default_is_device_where_chips_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.mixtral8x7b.target.glob", lambda pattern: [])
    assert default_target() == "cpu"
    monkeypatch.setattr("models.mixtral8x7b.target.glob", lambda pattern: ["/dev/tenstorrent/0"])
    assert default_target() == "device"


def test_cpu_means_our_backend_and_may_be_chosen_twice() -> None:
    done = python(
        "from models.mixtral8x7b.target import use_target; use_target('cpu'); use_target('cpu')\n"
        "import ttnn, ttnn_cpu; assert ttnn is ttnn_cpu\n"
        "import models.mixtral8x7b.tt.model"
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_importing_the_model_without_any_ttnn_names_use_target() -> None:
    done = python("import sys; sys.modules['ttnn'] = None\nimport models.mixtral8x7b.tt.model")
    assert done.returncode == 1
    assert (
        "ImportError: there is no ttnn in this process; call models.mixtral8x7b.target.use_target('cpu')" in done.stderr
    )


def test_unknown_and_conflicting_targets_are_refused() -> None:
    with pytest.raises(TargetError, match="target is 'gpu'; expected one of cpu, mock, sim, device"):
        use_target("gpu")
    code = "import sys, types; sys.modules['ttnn'] = types.ModuleType('ttnn')\n"
    done = python(code + "from models.mixtral8x7b.target import use_target; use_target('cpu')")
    assert "TargetError: cannot use target cpu: the real ttnn is already imported" in done.stderr


def test_a_bad_variable_is_a_usage_error_and_an_option_beats_it() -> None:
    pytest_main = "import sys, pytest; sys.exit(pytest.main(['-q', '--collect-only', 'tests/test_paging.py', *{}]))"
    bad = python(pytest_main.format([]), MIXTRAL_TARGET="bogus")
    assert bad.returncode == pytest.ExitCode.USAGE_ERROR
    assert "target is 'bogus'; expected one of cpu, mock, sim, device" in bad.stderr
    assert python(pytest_main.format(["--target", "cpu"]), MIXTRAL_TARGET="bogus").returncode == 0


def test_who_can_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same before `use_target` and after it: who starts processes for a target need not be one of them."""
    for dispatch, of_sim in (("fast", True), ("slow", False), ("", False)):
        monkeypatch.setenv("MIXTRAL_SIM_DISPATCH", dispatch)
        assert [can_trace(name) for name in ("cpu", "mock", "sim", "device")] == [True, False, of_sim, True]


def test_chips_of_others_are_not_taken_for_a_device() -> None:
    code = "from models.mixtral8x7b.target import use_target; use_target('device')"
    for variable, other in (("TT_METAL_MOCK_CLUSTER_DESC_PATH", "mock"), ("TT_METAL_SIMULATOR", "sim")):
        done = python(code, **{variable: "x"})
        assert f"cannot use target device: {variable} is set; unset it, or use target {other}" in done.stderr


def test_the_simulator_wants_a_library_and_a_compiler(tmp_path: Path) -> None:
    code = "from models.mixtral8x7b.target import use_target; use_target('sim')"
    assert "cannot use target sim: MIXTRAL_SIMULATOR does not name a simulator" in python(code).stderr
    environment = {"MIXTRAL_SIMULATOR": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "MIXTRAL_SFPI": str(tmp_path)}
    missing = f"cannot use target sim: {tmp_path} is no simulator; expected libttsim.so, or a folder with one of"
    assert missing in python(code, **environment).stderr


def test_who_builds_programs() -> None:
    assert [name for name in TARGETS if builds_programs(name)] == ["mock", "sim", "device"]
