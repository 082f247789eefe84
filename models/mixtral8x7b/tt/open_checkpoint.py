"""Which checkpoint a program runs, and where its weight cache is."""

from pathlib import Path

from loguru import logger

from models.mixtral8x7b.checkpoint.cache_folder import INDEX
from models.mixtral8x7b.checkpoint.cached import CachedCheckpoint, Checkpoint
from models.mixtral8x7b.checkpoint.repacked import BASE, INSTRUCT, RepackedCheckpoint
from models.mixtral8x7b.checkpoint.tiny import tiny_checkpoint
from models.mixtral8x7b.settings import Settings
from models.mixtral8x7b.tt.weight_cache import CACHE_PREFIX, cache_folder


def open_checkpoint(settings: Settings, flavour: str | None) -> tuple[Checkpoint, Path]:
    """The checkpoint and the folder of its weight cache.

    Without settings.checkpoint it is the tiny one of this flavour; None is whichever there is, of the tiny ones
    instruct. Where the checkpoint is gone but the weight cache of this flavour is there, it is what that
    says of it. A repacked checkpoint's own flavour counts.
    Raises CheckpointError if neither is there, or something is damaged.
    """
    flavours = (flavour,) if flavour else (INSTRUCT, BASE)
    directory = settings.checkpoint or tiny_checkpoint(flavours[0], settings.user_cache)
    caches = [cache_folder(settings.weight_cache or directory, each) for each in flavours]
    filled = next((cache for cache in caches if (cache / INDEX).is_file()), None)
    if filled and _is_gone(directory):
        logger.warning(f"{directory} holds no checkpoint any more; starting from the weight cache {filled} alone")
        cached = CachedCheckpoint(filled)
        if settings.tokenizer is None:
            cached.check_tokenizer()
        return cached, filled
    checkpoint = RepackedCheckpoint(directory)
    if checkpoint.flavour not in flavours:
        logger.warning(f"{directory} is the {checkpoint.flavour} flavour; the prompts are for {flavour}")
    return checkpoint, cache_folder(settings.weight_cache or directory, checkpoint.flavour)


def _is_gone(directory: Path) -> bool:
    """Whether nothing of a checkpoint is left: what else stands in a folder may be one that is not repacked yet."""
    return not directory.exists() or (
        directory.is_dir() and all(file.name.startswith(CACHE_PREFIX) for file in directory.iterdir())
    )
