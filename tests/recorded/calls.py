"""Recorded calls in files: tests/data, one for each operation."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from ttnn_cpu.witness.calls import RecordedCall
from ttnn_cpu.witness.values import Recorded

DATA = Path(__file__).resolve().parents[1] / "data"
ALONE = DATA / "alone"  # of single calls, not of a model


def write(file: Path, calls: list[RecordedCall], provenance: dict[str, str]) -> None:
    """All calls of one operation; equal arrays are kept once."""
    arrays: dict[bytes, int] = {}
    stored: dict[str, np.ndarray] = {}

    def kept(tensor: Recorded) -> dict[str, Any]:
        content = tensor.values.tobytes() + str(tensor.values.dtype).encode() + str(tensor.values.shape).encode()
        if content not in arrays:
            arrays[content] = len(arrays)
            stored[f"array{arrays[content]}"] = tensor.values
        return {**{k: v for k, v in vars(tensor).items() if k != "values"}, "array": arrays[content]}

    lines = [
        {
            **vars(call),
            "inputs": [kept(tensor) for tensor in call.inputs],
            "results": [kept(tensor) for tensor in call.results],
        }
        for call in calls
    ]
    text = json.dumps({"provenance": provenance, "calls": lines}, indent=1)
    file.parent.mkdir(exist_ok=True)
    np.savez_compressed(file, text=np.frombuffer(text.encode(), np.uint8), **stored)  # type: ignore[arg-type]


def read(file: Path) -> tuple[list[RecordedCall], dict[str, str]]:
    """The calls of a file, and what they were recorded with."""
    with np.load(file) as stored:
        content = json.loads(stored["text"].tobytes())

        def tensor(kept: dict[str, Any]) -> Recorded:
            return Recorded(
                tuple(kept["shape"]),
                *(kept[name] for name in ("dtype", "layout", "memory_config", "n_chips")),
                values=stored[f"array{kept['array']}"],
            )

        calls = [
            RecordedCall(
                **{
                    **line,
                    "changed": tuple(line["changed"]),
                    "inputs": tuple(map(tensor, line["inputs"])),
                    "results": tuple(map(tensor, line["results"])),
                }
            )
            for line in content["calls"]
        ]
    return calls, content["provenance"]
