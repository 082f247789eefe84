"""The decode-only demo under the original's name: prompts are pushed through the decode program token by token.

    .venv/bin/python -m pytest -s "demo/demo.py::test_mixtral8x7b_demo[wormhole_b0-True-instruct]"

A user with a short prompt generates while others are still being read. Options and variables as in
demo_with_prefill.py, but --prefill, which is always 0 here.
"""

import pytest

from demo.as_test import run_as_test
from models.mixtral8x7b.tt.mesh import Mesh


@pytest.mark.timeout(0)
@pytest.mark.parametrize("kind", ["general", "instruct"])
@pytest.mark.parametrize("mesh", [pytest.param(8, id="wormhole_b0-True")], indirect=True)
def test_mixtral8x7b_demo(mesh: Mesh, kind: str, target: str, pytestconfig: pytest.Config) -> None:
    run_as_test(pytestconfig, mesh, target, kind, prefill=0)
