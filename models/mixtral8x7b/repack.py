"""Turns a published checkpoint into the repacked form: one file per layer, one tensor per expert, a manifest."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from models.mixtral8x7b.repacked import FLAVOURS, MANIFEST, Manifest
from models.mixtral8x7b.source_checkpoint import SourceCheckpoint
from models.mixtral8x7b.weights import CheckpointError, Placed, global_tensors, layer_tensors

PARTIAL = ".partial"  # suffix of a file that is being written
TOKENIZER = "tokenizer.model"


def _no_progress(done: int, of: int) -> None:
    pass


def repack(
    source: Path, output: Path, flavour: str = "base", progress: Callable[[int, int], None] = _no_progress
) -> None:
    """Writes the repacked form of `source` to `output`; the same input gives the same bytes.

    One layer is in memory at a time. All files are written under temporary names and renamed at the end, the manifest
    last, so a failure leaves `output` as it was. `progress(done, of)` counts files.
    Raises CheckpointError for a bad source, and for an output that is not writable or holds something else.
    """
    if flavour not in FLAVOURS:
        raise CheckpointError(f"flavour is {flavour!r}; expected one of {', '.join(FLAVOURS)}")
    checkpoint = SourceCheckpoint(source)
    sizes = {file.name: file.stat().st_size for file in checkpoint.files}
    is_new = _check_output(output, flavour, sizes)
    parts = list(_parts(checkpoint))
    tensors: dict[str, dict[str, Any]] = {}
    try:
        output.mkdir(parents=True, exist_ok=True)
        for done, (name, placed) in enumerate(parts):
            progress(done, len(parts))
            tensors |= _write_part(checkpoint, placed, output, name)
        _write_text(output / "params.json", json.dumps(checkpoint.config.to_params(), indent=1) + "\n")
        if (source / TOKENIZER).is_file():
            shutil.copyfile(source / TOKENIZER, _partial(output / TOKENIZER))
        _write_text(output / MANIFEST, Manifest(flavour, checkpoint.form, sizes, tensors).to_json())
        _check_same(output)
        for file in sorted(output.glob(f"*{PARTIAL}"), key=lambda file: file.name == MANIFEST + PARTIAL):
            file.replace(file.with_name(file.name.removesuffix(PARTIAL)))
    except OSError as error:
        raise CheckpointError(f"cannot write to {output}: {error}") from error
    finally:
        _clean_up(output, is_new)
    progress(len(parts), len(parts))


def _parts(checkpoint: SourceCheckpoint) -> Iterator[tuple[str, list[Placed]]]:
    yield "globals.safetensors", global_tensors()
    for n in range(checkpoint.config.n_layers):
        yield f"layers.{n:02d}.safetensors", layer_tensors(checkpoint.config, n)


def _write_part(
    checkpoint: SourceCheckpoint, placed: list[Placed], output: Path, name: str
) -> dict[str, dict[str, Any]]:
    values, entries = {}, {}
    for tensor in placed:
        value = checkpoint.tensor(tensor).contiguous()
        if not torch.isfinite(value).all():
            raise CheckpointError(
                f"{checkpoint.directory}: {tensor.key(checkpoint.form)} holds NaN or infinite numbers; fetch it again"
            )
        values[tensor.name] = value
        entries[tensor.name] = {
            "file": name,
            "shape": list(value.shape),
            "dtype": str(value.dtype).removeprefix("torch."),
            "sha256": _sha256(value),
        }
    save_file(values, _partial(output / name))
    return entries


def _sha256(value: Tensor) -> str:
    return hashlib.sha256(value.flatten().view(torch.uint8).numpy().data).hexdigest()


def _check_output(output: Path, flavour: str, sizes: dict[str, int]) -> bool:
    """Whether the output folder is new; raises CheckpointError if it holds anything but this very repack."""
    if not output.exists():
        return True
    if not output.is_dir():
        raise CheckpointError(f"{output} is a file; expected a folder for the repacked weights")
    if (output / MANIFEST).is_file():
        there = Manifest.read(output)
        if (there.flavour, there.source) != (flavour, sizes):
            raise CheckpointError(f"{output} holds another repacked checkpoint; choose another folder or delete it")
        return False
    others = [file.name for file in output.iterdir() if not file.name.endswith(PARTIAL)]
    if others:
        raise CheckpointError(f"{output} holds something else ({sorted(others)[0]}, ...); choose an empty folder")
    return False


def _check_same(output: Path) -> None:
    """Raises CheckpointError if what has been written differs from a repack that is there already."""
    for name in (MANIFEST, "params.json"):
        file = output / name
        if file.is_file() and file.read_bytes() != _partial(file).read_bytes():
            raise CheckpointError(f"{output} holds another repacked checkpoint; choose another folder or delete it")


def _partial(file: Path) -> Path:
    return file.with_name(file.name + PARTIAL)


def _write_text(file: Path, text: str) -> None:
    _partial(file).write_text(text, encoding="utf-8")


def _clean_up(output: Path, is_new: bool) -> None:
    if not output.is_dir():
        return
    for file in output.glob(f"*{PARTIAL}"):
        file.unlink(missing_ok=True)
    if is_new and not any(output.iterdir()):
        output.rmdir()
