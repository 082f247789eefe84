"""machine.json: who reads it, and what beats it.

.venv/bin/python -m pytest --target cpu tests/first_light/test_machine.py
"""

from pathlib import Path

import pytest
import ttnn

from models.mixtral8x7b.first_light.machine import write_machine
from models.mixtral8x7b.machine import ALLOWED, DESIGNED, FILE, Machine, asked_machine, chosen_machine
from models.mixtral8x7b.settings import SettingsError
from models.mixtral8x7b.tt.precision import HIFI2_FP32, HIFI3_FP32, PRESETS, preset
from tests.cli.conftest import Run, mixtral, user_cache  # noqa: F401

LINE = Machine("line", "off", 128, "HiFi3")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in ALLOWED:
        monkeypatch.delenv(f"MIXTRAL_{name.upper()}", raising=False)
    return tmp_path / "mixtral8x7b-ttnn"


def test_an_option_beats_the_variable_and_that_the_file(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen_machine("device") == DESIGNED
    write_machine(cache, "device", LINE, {"ttnn": "0.81.1"})
    write_machine(cache, "cpu", DESIGNED, {})
    assert (chosen_machine("device"), chosen_machine("cpu"), chosen_machine("sim")) == (LINE, DESIGNED, DESIGNED)
    for variable, value in (("FABRIC", "ring"), ("TRACE", "on"), ("ATTENTION_CHUNK", "64"), ("FIDELITY", "HiFi2")):
        monkeypatch.setenv(f"MIXTRAL_{variable}", value)
    assert chosen_machine("device") == Machine("ring", "on", 64, "HiFi2")
    assert chosen_machine("device", "line").fabric == "line"
    assert asked_machine("line") == Machine("line", "on", 64, "HiFi2"), "the search begins without the file"


def test_values_that_do_not_exist_are_named(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.mkdir()
    (cache / FILE).write_text('{"device": {"attention_chunk": 100}, "cpu": 7}')
    with pytest.raises(SettingsError, match=r"attention_chunk of .*machine.json is 100; expected one of 256, 128, 64"):
        chosen_machine("device")
    with pytest.raises(SettingsError, match="has no object under cpu"):
        chosen_machine("cpu")
    (cache / FILE).write_text("{")
    with pytest.raises(SettingsError, match=r"remove it and run ./mixtral first-light again"):
        chosen_machine("device")
    (cache / FILE).unlink()
    monkeypatch.setenv("MIXTRAL_TRACE", "perhaps")
    with pytest.raises(SettingsError, match="MIXTRAL_TRACE is 'perhaps'; expected one of on, off"):
        chosen_machine("device")


def test_a_command_reads_it(mixtral: Run, cache: Path) -> None:
    cache.mkdir()
    (cache / FILE).write_text('{"cpu": {"fabric": "star"}}')
    done = mixtral("generate", "--target", "cpu", "Hi")
    assert "machine.json is 'star'; expected one of ring, line" in done.sentence


def test_a_fidelity_is_that_of_all_matrices_but_of_4_bits() -> None:
    assert all(preset(name) == made for name, made in PRESETS.items())
    for name, made in PRESETS.items():
        for fidelity, kernel in (("HiFi3", HIFI3_FP32), ("HiFi2", HIFI2_FP32)):
            changed = preset(name, Machine(fidelity=fidelity, attention_chunk=64))
            assert {changed.sdpa_prefill, changed.sdpa_decode, changed.router, changed.norm} == {kernel}
            assert changed.attention_chunk == 64
            for matrix in ("w1", "w2", "w3", "attention", "lm_head"):
                before, after = getattr(made, matrix), getattr(changed, matrix)
                assert after.kernel == (before.kernel if before.dtype == ttnn.bfloat4_b else kernel)
                assert after.dtype == before.dtype
