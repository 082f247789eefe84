"""The decode-only demo under the original's name: prompts are pushed through the decode program token by token.

    .venv/bin/python -m pytest -s "demo/demo.py::test_mixtral8x7b_demo[wormhole_b0-True-instruct]"

A user with a short prompt generates while others are still being read. Options and variables as in
demo_with_prefill.py, but --prefill, which is always 0 here.
"""

import pytest

from demo.run import DemoOptions, run_demo
from models.mixtral8x7b.settings import Settings
from models.mixtral8x7b.tt.mesh import Mesh


@pytest.mark.timeout(0)
@pytest.mark.parametrize("kind", ["general", "instruct"])
@pytest.mark.parametrize("mesh", [pytest.param(8, id="wormhole_b0-True")], indirect=True)
def test_mixtral8x7b_demo(mesh: Mesh, kind: str, target: str, pytestconfig: pytest.Config) -> None:
    options = DemoOptions(
        is_instruct=kind == "instruct",
        n_users=pytestconfig.getoption("--users"),
        max_new_tokens=pytestconfig.getoption("--max-new-tokens"),
        prompts=pytestconfig.getoption("--prompts"),
        prefill=0,
        precision=pytestconfig.getoption("--precision"),
    )
    result = run_demo(options, Settings.from_environment(), mesh, target)
    assert all(result.answers), "a user got no answer"
