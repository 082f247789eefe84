"""What the chips need of the machine: driver, firmware, huge pages, ttnn, compiler. Reads files, opens no chip."""

import platform
import re
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from models.mixtral8x7b.first_light.asked import Asked
from models.mixtral8x7b.first_light.notes import Notes
from models.mixtral8x7b.first_light.verdicts import Finding, Verdict
from models.mixtral8x7b.settings import Settings
from virtual_t3000.sfpi import SfpiError, find_sfpi, sfpi_version, version_ttnn_names

CHIPS_OF_A_BOARD = 2  # an n300; the second is behind the first, without a PCIe device of its own
_ROOT = Path("/")


def driver(asked: Asked, notes: Notes, root: Path = _ROOT) -> None:
    """tenstorrent's kernel module is loaded and shows a device for each board."""
    told = _read(root / "sys/module/tenstorrent/version")
    if told is None:
        raise Finding(
            Verdict.MISSING,
            "the kernel module tenstorrent is not loaded; install tt-kmd, or run modprobe tenstorrent",
        )
    notes.fact("driver", told)
    boards = [file.name for file in (root / "dev/tenstorrent").glob("[0-9]*")]
    notes.fact("boards with a PCIe device", len(boards))
    wanted = -(-asked.chips // CHIPS_OF_A_BOARD)
    if len(boards) < wanted:
        raise Finding(
            Verdict.MISSING,
            f"the driver shows {len(boards)} boards; {asked.chips} chips need {wanted}, {CHIPS_OF_A_BOARD} on each",
        )
    notes.far(f"version {told}, {len(boards)} boards")


def firmware(asked: Asked, notes: Notes, root: Path = _ROOT) -> None:
    """All boards have the same; which one suits, ttnn says when it opens them."""
    boards = sorted((root / "sys/class/tenstorrent").glob("tenstorrent*"))
    for name, file in (("boards", "tt_card_type"), ("firmware", "tt_fw_bundle_ver")):
        told = [value for board in boards if (value := _read(board / file)) is not None]
        if not told:
            notes.fact(name, "not told by this driver")
            continue
        notes.fact(name, ", ".join(told))
        notes.far(f"{name} {told[0]}")
        if len(set(told)) > 1:
            raise Finding(Verdict.WRONG, f"{name} differ ({', '.join(told)}); expected the same on all: see tt-flash")


def huge_pages(asked: Asked, notes: Notes, root: Path = _ROOT) -> None:
    """One of 1 GB for each board, unless there is an IOMMU, which makes any memory do."""
    pages = int(_read(root / "sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages") or 0)
    has_iommu = any((root / "sys/kernel/iommu_groups").glob("*"))
    notes.fact("huge pages of 1 GB", pages)
    notes.fact("IOMMU", "on" if has_iommu else "off")
    wanted = -(-asked.chips // CHIPS_OF_A_BOARD)
    if pages < wanted and not has_iommu:
        raise Finding(
            Verdict.REFUSED,
            f"there are {pages} huge pages of 1 GB; expected {wanted}, one for each board: install tt-system-tools and "
            "start its hugepages service, or switch the IOMMU on",
        )
    notes.far(f"{pages} of 1 GB, IOMMU {'on' if has_iommu else 'off'}")


def ttnn(asked: Asked, notes: Notes) -> None:
    """The version that this program was written for."""
    import tensorbin

    try:
        found = version("ttnn")
    except PackageNotFoundError:
        found = ""
    if not found or find_spec("ttnn") is None:
        raise Finding(
            Verdict.REFUSED,
            f"ttnn is not installed for Python {platform.python_version()}; expected 3.12 or 3.10 on Linux x86-64",
        )
    notes.fact("ttnn", found)
    notes.far(f"version {found}")
    if not re.match(rf"{re.escape(tensorbin.TTNN_VERSION)}(\D|$)", found):
        raise Finding(Verdict.REFUSED, f"ttnn is {found}; expected {tensorbin.TTNN_VERSION}: install that one")


def compiler(asked: Asked, notes: Notes) -> None:
    """There is one for kernels. The version need not be the one that ttnn names: it says so itself where it must."""
    settings = Settings.from_environment()
    folder = settings.sfpi or find_sfpi(settings.user_cache)
    if folder is None:
        if asked.target == "mock":
            notes.far("none; the mock has a stand-in")
            return
        raise Finding(Verdict.REFUSED, "there is no compiler for kernels; run scripts/get_sfpi.py, which fetches it")
    try:
        found = sfpi_version(folder)
    except SfpiError as error:
        raise Finding(Verdict.REFUSED, str(error)) from error
    notes.fact("compiler", found)
    notes.far(f"version {found}, ttnn names {version_ttnn_names() or 'none'}")


def _read(file: Path) -> str | None:
    try:
        return file.read_text().strip()
    except OSError:
        return None
