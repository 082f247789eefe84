"""Make `import ttnn` mean this package."""

from __future__ import annotations

import sys


def install() -> None:
    """Register this package as `ttnn`, so that model code which says `import ttnn` runs on it.

    Raises RuntimeError if another ttnn has been imported in this process. Calling it twice changes nothing.
    """
    import ttnn_cpu
    from ttnn_cpu import experimental, transformer

    present = sys.modules.get("ttnn")
    if present is not None and present is not ttnn_cpu:
        raise RuntimeError(
            "another ttnn is already imported in this process: call ttnn_cpu.install() before anything imports ttnn"
        )
    sys.modules["ttnn"] = ttnn_cpu
    sys.modules["ttnn.experimental"] = experimental
    sys.modules["ttnn.transformer"] = transformer
