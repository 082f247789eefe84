"""Turns a published checkpoint into the repacked form: one file per layer, one tensor per expert, a manifest."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from models.mixtral8x7b.repacked import FLAVOURS, MANIFEST, Manifest
from models.mixtral8x7b.source_checkpoint import SourceCheckpoint
from models.mixtral8x7b.weights import CheckpointError, Placed, global_tensors, layer_tensors

STAGING = ".partial"  # folder in the output where all files are written first
TOKENIZER = "tokenizer.model"


def _no_progress(done: int, of: int) -> None:
    pass


def repack(
    source: Path, output: Path, flavour: str = "base", progress: Callable[[int, int], None] = _no_progress
) -> None:
    """Writes the repacked form of `source` to `output`; the same input gives the same bytes.

    One layer is in memory at a time. All files are written to a folder beside their place and moved at the end, the
    manifest last, so a failure leaves `output` as it was. `progress(done, of)` counts files.
    Raises CheckpointError for a bad source, and for an output that is not writable or holds something else.
    """
    if flavour not in FLAVOURS:
        raise CheckpointError(f"flavour is {flavour!r}; expected one of {', '.join(FLAVOURS)}")
    checkpoint = SourceCheckpoint(source)
    sizes = {file.name: file.stat().st_size for file in checkpoint.files}
    is_new = _check_output(output, flavour, sizes)
    parts = list(_parts(checkpoint))
    tensors: dict[str, dict[str, Any]] = {}
    staging = output / STAGING
    try:
        shutil.rmtree(staging, ignore_errors=True)  # of a repack that was killed
        staging.mkdir(parents=True)
        for done, (name, placed) in enumerate(parts):
            progress(done, len(parts))
            tensors |= _write_part(checkpoint, placed, staging / name)
        (staging / "params.json").write_text(
            json.dumps(checkpoint.config.to_params(), indent=1) + "\n", encoding="utf-8"
        )
        if (source / TOKENIZER).is_file():
            shutil.copyfile(source / TOKENIZER, staging / TOKENIZER)
        manifest = Manifest(flavour, checkpoint.form, sizes, tensors)
        (staging / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
        _check_same(staging, output)
        for file in sorted(staging.iterdir(), key=lambda file: file.name == MANIFEST):
            file.replace(output / file.name)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot write to {output}: {error}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if is_new and output.is_dir() and not any(output.iterdir()):
            output.rmdir()
    progress(len(parts), len(parts))


def _parts(checkpoint: SourceCheckpoint) -> Iterator[tuple[str, list[Placed]]]:
    yield "globals.safetensors", global_tensors()
    for n in range(checkpoint.config.n_layers):
        yield f"layers.{n:02d}.safetensors", layer_tensors(checkpoint.config, n)


def _write_part(checkpoint: SourceCheckpoint, placed: list[Placed], file: Path) -> dict[str, dict[str, Any]]:
    """Writes tensors to a file; returns their entries in the manifest."""
    values, entries = {}, {}
    for tensor in placed:
        value = checkpoint.tensor(tensor).contiguous()
        if not torch.isfinite(value).all():
            raise CheckpointError(
                f"{checkpoint.directory}: {tensor.key(checkpoint.form)} holds NaN or infinite numbers; fetch it again"
            )
        values[tensor.name] = value
        entries[tensor.name] = {
            "file": file.name,
            "shape": list(value.shape),
            "dtype": str(value.dtype).removeprefix("torch."),
            "sha256": _sha256(value),
        }
    save_file(values, file)
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
    others = [file.name for file in output.iterdir() if file.name != STAGING]
    if others:
        raise CheckpointError(f"{output} holds something else ({sorted(others)[0]}, ...); choose an empty folder")
    return False


def _check_same(staging: Path, output: Path) -> None:
    """Raises CheckpointError if what has been written differs from a repack that is there already."""
    for name in (MANIFEST, "params.json"):
        there = output / name
        if there.is_file() and there.read_bytes() != (staging / name).read_bytes():
            raise CheckpointError(f"{output} holds another repacked checkpoint; choose another folder or delete it")
