"""The demo under the original's name: prompts are prefilled, then all users decode together.

    .venv/bin/python -m pytest -s "demo/demo_with_prefill.py::test_mixtral8x7b_demo[wormhole_b0-True-128-instruct]"

The id's number is the whole context; prompts are cut to leave room for --max-new-tokens. Options: see `pytest --help`,
group mixtral. Variables: MIXTRAL_CKPT_DIR, MIXTRAL_TOKENIZER_PATH, MIXTRAL_CACHE_PATH; without them the tiny
checkpoints answer.
"""

import pytest

from demo.as_test import run_as_test
from models.mixtral8x7b.tt.mesh import Mesh

LENGTHS = {"128": 128, "4k": 4096, "8k": 8192, "16k": 16384, "32k": 32768}


@pytest.mark.timeout(0)
@pytest.mark.parametrize("kind", ["general", "instruct"])
@pytest.mark.parametrize("context", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("mesh", [pytest.param(8, id="wormhole_b0-True")], indirect=True)
def test_mixtral8x7b_demo(mesh: Mesh, context: int, kind: str, target: str, pytestconfig: pytest.Config) -> None:
    run_as_test(pytestconfig, mesh, target, kind, context, pytestconfig.getoption("--prefill"))
