"""A mocked T3000 for the real ttnn: its validation, program building and allocation run, no kernel does.

    os.environ.update(mock_t3000.prepare(folder))    # before anything imports ttnn

Stand-alone: imports nothing from the rest of the repository, and the standard library only. Seen to work with
ttnn 0.81.1. What the mock cannot tell: values, kernels that do not compile or hang, traces, speed.
"""

from mock_t3000.environment import prepare
from mock_t3000.runtime_root import MockError

__all__ = ["MockError", "prepare"]
