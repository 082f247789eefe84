"""Which meshes the real library opens on a T3000: all 8 chips, or one of them (both in test_conformance)."""

import subprocess
import sys

import pytest

from tests.mock.records import REPOSITORY

OPEN = "from models.mixtral8x7b.tt.mesh import open_mesh\nwith open_mesh({}): print('open')"
REFUSALS = {
    16: "16 chips; expected one of 1, 2, 4, 8",
    4: "ttnn does not open 4 chips here (of a T3000 the real ttnn opens all 8 chips, or 1); use --chips 8 or 1",
}


def test_the_line() -> None:
    """The other fabric: the same calls. In a process of its own: a mesh has one fabric as long as it lives."""
    join = (
        "import torch, ttnn\nfrom models.mixtral8x7b.tt.mesh import Placement, open_mesh\n"
        "with open_mesh(8, 'line') as mesh:\n"
        "    x = mesh.put(torch.ones(8, 1, 32, 64), ttnn.bfloat16, ttnn.TILE_LAYOUT, Placement.ONE_PER_DEVICE)\n"
        "    print(list(mesh.sum_over_devices(mesh.gather_rows(x), ttnn.L1_MEMORY_CONFIG).shape))"
    )
    run = subprocess.run([sys.executable, "-c", join], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout.splitlines()[-1:]) == (0, ["[1, 1, 256, 64]"]), run.stderr


@pytest.mark.parametrize("n_devices", REFUSALS)
def test_refused(n_devices: int) -> None:
    """In a process of its own (with this one's mock): after some of these refusals ttnn opens nothing any more."""
    command = [sys.executable, "-c", OPEN.format(n_devices)]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert REFUSALS[n_devices] in run.stderr
