"""Turns a published checkpoint into the repacked form: one file per layer, one tensor per expert, a manifest.

A layer is written while a second thread hashes it, both from the source's mapped pages: memory holds one layer, and a
copy only of what is ordered differently (HF's wq and wk). A third thread waits for the disk while the next layer is
written. What a killed run has finished is kept (`repack_journal`).
"""

import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch
from loguru import logger
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from models.mixtral8x7b.checkpoint.repack_journal import Entries, Journal
from models.mixtral8x7b.checkpoint.repacked import FLAVOURS, TOKENIZER_FILES, hash_of
from models.mixtral8x7b.checkpoint.source import SourceCheckpoint
from models.mixtral8x7b.checkpoint.tensor_files import check_path
from models.mixtral8x7b.checkpoint.weights import CheckpointError, Placed, global_tensors, layer_tensors
from models.mixtral8x7b.durable import (
    BusyError,
    DiskFullError,
    check_free_space,
    exclusive,
    give_name,
    no_temporaries,
    sync,
    temporary_of,
    write_durably,
    write_text_durably,
)
from models.mixtral8x7b.mistake import reason
from models.mixtral8x7b.progress import OnProgress, no_progress


def repack(source: Path, output: Path, flavour: str = "base", on_progress: OnProgress = no_progress) -> str:
    """Writes the repacked form of `source` to `output`; the same input gives the same bytes. Returns what was found.

    Every file is synced to disk before it gets its name. Run again after a kill or a full disk, it goes on with the
    files that are not finished, but writes all of them if a source file was fetched again meanwhile; run again on a
    finished folder, it writes those that are gone. `on_progress(done, of)` counts files.
    Raises CheckpointError for a bad source, for an output that is not writable, has too little room, holds something
    else or is being written by another process.
    """
    if flavour not in FLAVOURS:
        raise CheckpointError(f"flavour is {flavour!r}; expected one of {', '.join(FLAVOURS)}")
    check_path(output)
    checkpoint = SourceCheckpoint(source)
    for note in checkpoint.notes:
        logger.warning(f"{source}: {note}")
    if output.exists() and not output.is_dir():
        raise CheckpointError(f"{output} is a file; expected a folder for the repacked weights")
    try:
        with exclusive(output):
            journal = Journal(output, checkpoint, flavour)
            parts = {name: placed for name, placed in _parts(checkpoint) if not journal.has(name)}
            check_free_space(output, sum(checkpoint.size_of(placed) for placed in parts.values()))
            with no_temporaries(output):
                _write_parts(checkpoint, parts, output, journal, on_progress)
                write_text_durably(output / "params.json", journal.params)
                for name in TOKENIZER_FILES:
                    if (source / name).is_file():
                        write_durably(output / name, partial(shutil.copyfile, source / name))
                journal.finish()
    except (BusyError, DiskFullError) as error:
        raise CheckpointError(str(error)) from error
    except (OSError, SafetensorError) as error:
        why = reason(error) if isinstance(error, OSError) else str(error)
        kept = ": finished files are kept" if any(output.glob("*.safetensors")) else ""
        raise CheckpointError(f"cannot write to {output}: {why}; run again when this is mended{kept}") from error
    return checkpoint.description


def _parts(checkpoint: SourceCheckpoint) -> Iterator[tuple[str, list[Placed]]]:
    yield "globals.safetensors", global_tensors()
    for n in range(checkpoint.config.n_layers):
        yield f"layers.{n:02d}.safetensors", layer_tensors(checkpoint.config, n)


def _write_parts(
    checkpoint: SourceCheckpoint,
    parts: dict[str, list[Placed]],
    output: Path,
    journal: Journal,
    on_progress: OnProgress,
) -> None:
    n_files = 1 + checkpoint.config.n_layers
    n_done = n_files - len(parts)
    with ThreadPoolExecutor(1) as hasher, ThreadPoolExecutor(1) as finisher:
        unfinished: Future[None] | None = None
        for done, (file, placed) in enumerate(parts.items(), start=n_done):
            on_progress(done, n_files)
            entries = _write_part(checkpoint, placed, output / file, hasher)
            if unfinished:
                unfinished.result()
            unfinished = finisher.submit(_finish_part, output / file, entries, journal)
        if unfinished:
            unfinished.result()
    on_progress(n_files, n_files)


def _write_part(checkpoint: SourceCheckpoint, placed: list[Placed], file: Path, hasher: ThreadPoolExecutor) -> Entries:
    """Writes tensors to the file's temporary; returns their entries in the manifest."""
    with checkpoint.reading() as read:
        values = _apart({tensor.name: read(tensor).contiguous() for tensor in placed})
        entries = {tensor: hasher.submit(_entry, values[tensor.name], file.name) for tensor in placed}
        try:
            save_file(values, temporary_of(file))
            return {tensor.name: _finite(entry.result(), tensor, checkpoint) for tensor, entry in entries.items()}
        finally:
            for entry in entries.values():
                entry.cancel()


def _apart(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies of tensors that are another's very memory, such as a tied LM head: a file holds each for itself."""
    first = {value.data_ptr(): name for name, value in reversed(values.items())}
    return {name: value if first[value.data_ptr()] == name else value.clone() for name, value in values.items()}


def _finish_part(file: Path, entries: Entries, journal: Journal) -> None:
    """Once the bytes are safe: into the journal, and then the name, which an older file may bear until then."""
    sync(temporary_of(file))
    file.unlink(missing_ok=True)
    journal.add(entries)
    give_name(file)


def _entry(value: Tensor, file: str) -> dict[str, Any] | None:
    """What the manifest says of a tensor; None if a number in it is not finite."""
    low, high = torch.aminmax(value)
    if not (low.isfinite() and high.isfinite()):
        return None
    return {
        "file": file,
        "shape": list(value.shape),
        "dtype": str(value.dtype).removeprefix("torch."),
        "sha256": hash_of(value),
    }


def _finite(entry: dict[str, Any] | None, tensor: Placed, checkpoint: SourceCheckpoint) -> dict[str, Any]:
    if entry is None:
        key = tensor.key(checkpoint.form)
        raise CheckpointError(
            f"{checkpoint.directory}: {key} holds NaN or infinite numbers; if the file is "
            "as published, the model was saved in a type that its numbers do not fit: use another release of it"
        )
    return entry
