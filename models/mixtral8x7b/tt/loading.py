"""Weights on their way to the chips: with a progress bar, for a program to run or only for the weight cache."""

import time
from pathlib import Path

from models.mixtral8x7b.checkpoint.cache_folder import CacheFolder
from models.mixtral8x7b.checkpoint.cached import Checkpoint
from models.mixtral8x7b.paging import KV_BLOCK
from models.mixtral8x7b.progress import progress_bar
from models.mixtral8x7b.settings import Settings
from models.mixtral8x7b.sizes import size_text
from models.mixtral8x7b.tt.mesh import Mesh
from models.mixtral8x7b.tt.model import Mixtral
from models.mixtral8x7b.tt.open_checkpoint import open_checkpoint
from models.mixtral8x7b.tt.precision import Precision
from models.mixtral8x7b.tt.weight_cache import CheckpointWeights, bytes_per_number


def load(
    checkpoint: Checkpoint,
    cache: Path,
    precision: Precision,
    mesh: Mesh,
    n_blocks: int,
    max_context: int,
    n_tokens: int | None = None,
    cache_only: bool = False,
    notes_experts: bool = False,
) -> Mixtral:
    """The model, loaded from its weight cache; what that misses is converted first, unless `cache_only` refuses it."""
    with progress_bar("loading the weights") as on_progress:
        weights = CheckpointWeights(checkpoint, mesh, cache, cache_only, on_progress, bytes_per_number(precision))
        return Mixtral(weights, mesh, precision, n_blocks, max_context, n_tokens=n_tokens, notes_experts=notes_experts)


def fill_cache(settings: Settings, flavour: str | None, precision: Precision, mesh: Mesh, cache_only: bool) -> str:
    """Fills the weight cache for a precision, or checks every byte that is there; says what is in it.

    flavour: as `open_checkpoint` takes it. Raises what that and `load` raise.
    """
    checkpoint, cache = open_checkpoint(settings, flavour)
    started = time.perf_counter()
    load(checkpoint, cache, precision, mesh, n_blocks=1, max_context=KV_BLOCK, cache_only=cache_only)
    files = CacheFolder(cache).files.values()
    return (
        f"{cache}: {len(files)} files, {size_text(sum(file.bytes for file in files))}; those for precision "
        f"{precision.name} are whole and checked, in {time.perf_counter() - started:.1f} s"
    )
