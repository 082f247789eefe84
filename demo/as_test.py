"""A demo run under pytest: options from its command line, and one sentence for a user's mistake."""

import pytest

from demo.run import DemoOptions, run_demo
from models.mixtral8x7b.mistake import Mistake
from models.mixtral8x7b.program import show_everything
from models.mixtral8x7b.settings import Settings
from models.mixtral8x7b.tt.mesh import Mesh


def run_as_test(
    config: pytest.Config, mesh: Mesh, target: str, kind: str, context: int = 128, prefill: int | None = None
) -> None:
    options = DemoOptions(
        is_instruct=kind == "instruct",
        context=context,
        n_users=config.getoption("--users"),
        max_new_tokens=config.getoption("--max-new-tokens"),
        prompts=config.getoption("--prompts"),
        prefill=prefill,
        precision=config.getoption("--precision"),
        cache_only=config.getoption("--cache-only"),
    )
    show_everything()
    try:
        result = run_demo(options, Settings.from_environment(), mesh, target)
    except Mistake as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    assert all(result.answers), "a user got no answer"
