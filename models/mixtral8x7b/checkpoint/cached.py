"""A checkpoint of which only the weight cache is left: enough to start, as long as the cache is whole."""

from pathlib import Path
from typing import Protocol

from torch import Tensor

from models.mixtral8x7b.checkpoint.cache_folder import INDEX, CacheFolder
from models.mixtral8x7b.checkpoint.repacked import TOKENIZER
from models.mixtral8x7b.checkpoint.weights import CheckpointError
from models.mixtral8x7b.config import ConfigError, MixtralConfig


class Checkpoint(Protocol):
    """What the model needs of a checkpoint: `RepackedCheckpoint` and `CachedCheckpoint` have it."""

    directory: Path  # where the tokenizer is, if the checkpoint came with one
    config: MixtralConfig

    @property
    def flavour(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    def n_parameters(self) -> int: ...
    def tensor(self, name: str) -> Tensor: ...


class CachedCheckpoint:
    """What the folder of a weight cache says of its checkpoint.

    Raises CheckpointError if there is no such folder, or what stands in it is damaged.
    """

    def __init__(self, folder: Path) -> None:
        cache = CacheFolder(folder)
        if cache.identity is None or cache.source is None:
            raise CheckpointError(
                f"{folder} is no weight cache of this version of the program (no {INDEX}); set MIXTRAL_CACHE_PATH to "
                "the folder that holds one"
            )
        try:
            self.config = MixtralConfig.from_params(cache.source.params)
        except ConfigError as error:
            raise CheckpointError(f"{folder / INDEX} is damaged ({error}); delete the folder {folder}") from error
        self.directory = folder
        self.flavour = cache.source.flavour
        self.fingerprint = cache.identity.fingerprint
        self._n_parameters = cache.source.n_parameters
        self._cache = cache

    def check_tokenizer(self) -> None:
        """Raises CheckpointError if a copy of the tokenizer's files is not what was copied, or there is none."""
        for name in self._cache.tokenizer_files() or [TOKENIZER]:
            if problem := self._cache.problem(name):
                raise CheckpointError(f"{self.directory / name} {problem}; set MIXTRAL_TOKENIZER_PATH to a good one")

    def n_parameters(self) -> int:
        return self._n_parameters

    def tensor(self, name: str) -> Tensor:
        raise CheckpointError(
            f"{name} is not in the weight cache {self.directory}, and the checkpoint is gone; repack it again or set "
            "MIXTRAL_CKPT_DIR to where it is"
        )
