"""The calls of tests/cpu_backend, made on the real library."""

import importlib
import sys
from types import ModuleType

import ttnn

_BACKEND, _TESTS = "ttnn_cpu", "tests.cpu_backend"


def imported(name: str) -> ModuleType:
    """A module of tests/cpu_backend in which `import ttnn_cpu as ttnn` took the real ttnn.

    Its tables of calls are written down once, for the CPU backend; this way the real library gets the very same ones.
    """
    hidden = {key: sys.modules.pop(key) for key in list(sys.modules) if key == _BACKEND or key.startswith(_TESTS)}
    sys.modules[_BACKEND] = ttnn
    try:
        return importlib.import_module(f"{_TESTS}.{name}")
    finally:
        for key in [key for key in sys.modules if key == _BACKEND or key.startswith(_TESTS)]:
            del sys.modules[key]
        sys.modules.update(hidden)
