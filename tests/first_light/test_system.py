"""What first light asks of the machine, on machines made of files.

.venv/bin/python -m pytest --target cpu tests/first_light/test_system.py
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from models.mixtral8x7b.first_light import system
from models.mixtral8x7b.first_light.asked import Asked
from models.mixtral8x7b.first_light.notes import Notes, Told
from models.mixtral8x7b.first_light.verdicts import Finding, Verdict
from models.mixtral8x7b.machine import DESIGNED

ASKED = Asked("a step", "a:function", "device", 8, DESIGNED)
HUGE = "sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages"
T3000 = {
    "sys/module/tenstorrent/version": "2.4.1\n",
    HUGE: "4\n",
    **{f"dev/tenstorrent/{n}": "" for n in range(4)},
    **{f"sys/class/tenstorrent/tenstorrent!{n}/tt_card_type": "n300\n" for n in range(4)},
    **{f"sys/class/tenstorrent/tenstorrent!{n}/tt_fw_bundle_ver": "18.7.0.0\n" for n in range(4)},
}
Step = Callable[[Asked, Notes, Path], None]


def told(folder: Path, step: Step, files: dict[str, str]) -> Told:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    step(ASKED, Notes(folder / "notes"), folder)
    return Told.read(folder / "notes")


def test_a_t3000(tmp_path: Path) -> None:
    facts: dict[str, str] = {}
    for step in (system.driver, system.firmware, system.huge_pages):
        facts |= told(tmp_path, step, T3000).facts
    assert facts == {
        "driver": "2.4.1",
        "boards with a PCIe device": "4",
        "boards": "n300, n300, n300, n300",
        "firmware": "18.7.0.0, 18.7.0.0, 18.7.0.0, 18.7.0.0",
        "huge pages of 1 GB": "4",
        "IOMMU": "off",
    }


def without(*names: str) -> dict[str, str]:
    return {name: text for name, text in T3000.items() if name not in names}


@pytest.mark.parametrize(
    ("step", "files", "verdict", "said"),
    [
        (system.driver, {}, Verdict.MISSING, "the kernel module tenstorrent is not loaded"),
        (
            system.driver,
            without("dev/tenstorrent/2"),
            Verdict.MISSING,
            "the driver shows 3 boards; 8 chips need 4,",
        ),
        (
            system.firmware,
            T3000 | {"sys/class/tenstorrent/tenstorrent!3/tt_fw_bundle_ver": "18.2.0.0"},
            Verdict.WRONG,
            "firmware differ (18.7.0.0, 18.7.0.0, 18.7.0.0, 18.2.0.0); expected the same on all",
        ),
        (system.huge_pages, T3000 | {HUGE: "1"}, Verdict.REFUSED, "there are 1 huge pages of 1 GB; expected 4"),
        (system.huge_pages, without(HUGE), Verdict.REFUSED, "there are 0 huge pages of 1 GB"),
    ],
)
def test_what_is_missing_is_named(
    tmp_path: Path, step: Step, files: dict[str, str], verdict: Verdict, said: str
) -> None:
    with pytest.raises(Finding) as found:
        told(tmp_path, step, files)
    assert found.value.verdict is verdict
    assert found.value.said.startswith(said)


def test_an_iommu_needs_no_huge_pages_and_an_old_driver_tells_no_firmware(tmp_path: Path) -> None:
    files = without(HUGE) | {"sys/kernel/iommu_groups/0/type": "DMA"}
    assert told(tmp_path, system.huge_pages, files).facts["IOMMU"] == "on"
    assert told(tmp_path / "old", system.firmware, {"dev/tenstorrent/0": ""}).facts["firmware"].startswith("not told")


@pytest.mark.parametrize("found", ["0.81.1", "0.81.1+cpu", "0.81.10", "0.80.0"])
def test_the_version_of_ttnn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: str) -> None:
    monkeypatch.setattr(system, "version", lambda name: found)
    monkeypatch.setattr(system, "find_spec", lambda name: object())
    if found.partition("+")[0] == "0.81.1":
        system.ttnn(ASKED, Notes(tmp_path / "notes"))
        assert Told.read(tmp_path / "notes").facts == {"ttnn": found}
        return
    with pytest.raises(Finding, match=rf"ttnn is {found}; expected 0.81.1"):
        system.ttnn(ASKED, Notes(tmp_path / "notes"))
