"""A few kernels with the real compiler, cold, where one is already there. All of them: `make kernels`."""

import struct
from pathlib import Path

import pytest

from models.mixtral8x7b.settings import Settings
from tests.mock.kernels import CONFIGURATION_BUFFER, code_bytes, kernels
from tests.mock.test_environment import IT_RAN, OPEN_A_MESH_AND_ADD, ended, start
from virtual_t3000.sfpi import find_sfpi

ON_ONE_CHIP = OPEN_A_MESH_AND_ADD.replace("open_mesh(8)", "open_mesh(1)")


def test_kernels_compile(tmp_path: Path) -> None:
    """Firmware, and the reader, writer and three compute kernels of an addition: about 10 s."""
    settings = Settings.from_environment()
    sfpi = settings.sfpi or find_sfpi(settings.user_cache)
    if sfpi is None:
        pytest.skip("there is no kernel compiler; scripts/get_sfpi.py fetches it")
    output = ended(start(ON_ONE_CHIP, XDG_CACHE_HOME=str(tmp_path), MIXTRAL_SFPI=str(sfpi)))
    assert output == IT_RAN.replace(" 8 ", " 1 ")
    (cache,) = tmp_path.glob("mixtral8x7b-ttnn/*/kernels")
    folders = list(kernels(cache))
    assert {folder.name for folder in folders} == {"brisc", "ncrisc", "trisc0", "trisc1", "trisc2"}
    for folder in folders:
        file = folder / f"{folder.name}.elf"
        assert struct.unpack_from("<HH", file.read_bytes(), 16) == (2, 243), "an executable for RISC-V"
        assert 100 < code_bytes(file) < CONFIGURATION_BUFFER
