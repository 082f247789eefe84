"""Which checkpoint a program runs, and where its weight cache is."""

from pathlib import Path

from loguru import logger

from models.mixtral8x7b.checkpoint.cache_folder import INDEX
from models.mixtral8x7b.checkpoint.cached import CachedCheckpoint, Checkpoint
from models.mixtral8x7b.checkpoint.repacked import RepackedCheckpoint
from models.mixtral8x7b.checkpoint.tiny import tiny_checkpoint
from models.mixtral8x7b.settings import Settings
from models.mixtral8x7b.tt.weight_cache import CACHE_PREFIX, cache_folder


def open_checkpoint(settings: Settings, flavour: str) -> tuple[Checkpoint, Path]:
    """The checkpoint and the folder of its weight cache.

    Without settings.checkpoint it is the tiny one of this flavour. Where the checkpoint is gone but the weight cache of
    this flavour is there, it is what that says of it. A repacked checkpoint's own flavour counts.
    Raises CheckpointError if neither is there, or something is damaged.
    """
    directory = settings.checkpoint or tiny_checkpoint(flavour, settings.user_cache)
    cache = cache_folder(settings.weight_cache or directory, flavour)
    if _is_gone(directory) and (cache / INDEX).is_file():
        logger.warning(f"{directory} holds no checkpoint any more; starting from the weight cache {cache} alone")
        cached = CachedCheckpoint(cache)
        if settings.tokenizer is None:
            cached.check_tokenizer()
        return cached, cache
    checkpoint = RepackedCheckpoint(directory)
    if checkpoint.flavour != flavour:
        logger.warning(f"{directory} is the {checkpoint.flavour} flavour; the prompts are for {flavour}")
    return checkpoint, cache_folder(settings.weight_cache or directory, checkpoint.flavour)


def _is_gone(directory: Path) -> bool:
    """Whether nothing of a checkpoint is left: what else stands in a folder may be one that is not repacked yet."""
    return not directory.exists() or (
        directory.is_dir() and all(file.name.startswith(CACHE_PREFIX) for file in directory.iterdir())
    )
