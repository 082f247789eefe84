"""Weights in device format: converted from the checkpoint once, later only loaded.

The same packer writes the files for every target, chip by chip (`cache_folder`): they are ttnn's own, byte for byte.
"""

from collections.abc import Callable
from contextlib import suppress
from math import prod
from pathlib import Path

import torch
import ttnn
from loguru import logger

import tensorbin
from models.mixtral8x7b.checkpoint.cache_folder import FORMAT_VERSION, CacheFolder, Identity, Source
from models.mixtral8x7b.checkpoint.cached import Checkpoint
from models.mixtral8x7b.checkpoint.weights import CheckpointError
from models.mixtral8x7b.durable import DiskFullError, check_free_space
from models.mixtral8x7b.mistake import reason
from models.mixtral8x7b.progress import OnProgress, no_progress
from models.mixtral8x7b.tt.layouts import TILE, TILE_BYTES
from models.mixtral8x7b.tt.mesh import Mesh, Placement
from models.mixtral8x7b.tt.precision import PERFORMANCE, Precision
from models.mixtral8x7b.tt.weights import MakePart

CACHE_PREFIX = "mixtral_tensor_cache"
CONVERSION = 2  # version of how the layers lay their weights out: counted up when one does it differently


def cache_folder(cache_path: Path, flavour: str) -> Path:
    """<cache_path>/mixtral_tensor_cache[_instruct]_bfp8, the original demo's names.

    All presets share the folder: each file's own name tells its dtype, and what two presets store alike stands once.
    """
    return cache_path / f"{CACHE_PREFIX}{'_instruct' if flavour == 'instruct' else ''}_bfp8"


def bytes_per_number(precision: Precision) -> float:
    """Of the experts, nearly all that there is: w1, w2 and w3 have the same size."""
    return sum(TILE_BYTES[matrix.dtype] for matrix in (precision.w1, precision.w2, precision.w3)) / (3 * TILE * TILE)


class CheckpointWeights:
    """Weights of a checkpoint, cached in a folder, or converted at every start where there is none (None).

    A file that is missing, damaged or of something else is made again, with a warning; with `cache_only` it is refused.
    `density`, in bytes per number, foretells how much room a new cache takes. `on_progress` counts parameters, loaded
    or converted.
    Raises CheckpointError for a cache that is refused, damaged in its index or not writable.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        mesh: Mesh,
        folder: Path | None,
        cache_only: bool = False,
        on_progress: OnProgress = no_progress,
        density: float = bytes_per_number(PERFORMANCE),
    ) -> None:
        self.config = checkpoint.config
        self._density = density
        self._checkpoint = checkpoint
        self._mesh = mesh
        self._cache_only = cache_only
        self._on_progress = on_progress
        self._n_loaded = 0
        self._cache: CacheFolder | None = None
        if folder is None:
            return
        self._cache = CacheFolder(folder)
        self._identity = Identity(
            FORMAT_VERSION, checkpoint.fingerprint, CONVERSION, f"1x{mesh.n_devices}", tensorbin.TTNN_VERSION
        )
        self._directory = checkpoint.directory
        self._has_loaded = False
        self._source = Source(checkpoint.flavour, checkpoint.config.to_params(), checkpoint.n_parameters())
        if self._cache.identity not in (None, self._identity):
            self._warn_or_refuse(folder, f"is of something else: {self._identity.differs_from(self._cache.identity)}")
        elif self._cache.identity and not self._cache.has_tokenizer(self._directory):
            with suppress(OSError):  # a cache that is only read serves as well
                self._cache.keep_tokenizer(self._directory)

    def load(
        self,
        name: str,
        shape: tuple[int, int, int, int],
        make: MakePart,
        dtype: ttnn.DataType,
        placement: Placement,
        layout: ttnn.Layout = ttnn.TILE_LAYOUT,
        memory_config: ttnn.MemoryConfig = ttnn.DRAM_MEMORY_CONFIG,
    ) -> ttnn.Tensor:
        host = self._host_tensor(name, shape, make, dtype, placement, layout)
        self._n_loaded += prod(shape)
        n_parameters = self._checkpoint.n_parameters()
        self._on_progress(min(self._n_loaded, n_parameters), n_parameters)
        return ttnn.to_device(host, self._mesh.device, memory_config=memory_config)

    def _host_tensor(
        self,
        name: str,
        shape: tuple[int, int, int, int],
        make: MakePart,
        dtype: ttnn.DataType,
        placement: Placement,
        layout: ttnn.Layout,
    ) -> ttnn.Tensor:
        local = tuple(self._mesh.local_shape(shape, placement))

        def make_part(chip: int) -> torch.Tensor:
            part = make(self._checkpoint.tensor, chip)
            if tuple(part.shape) != local:
                raise ValueError(f"{name} was made as {list(part.shape)}; {list(local)} announced")
            return part.bfloat16() if part.dtype is torch.float16 else part  # as ttnn does: by way of bf16

        is_split = placement.value is not None
        if self._cache is None:
            parts = [make_part(chip) for chip in range(self._mesh.n_devices if is_split else 1)]
            whole = torch.cat(parts, placement.value) if is_split else parts[0]
            return self._mesh.to_host(whole, placement, dtype, layout)
        header = tensorbin.Header(
            local,
            tensorbin.DType[dtype.name],
            tensorbin.Layout[layout.name],
            mesh_shape=(1, self._mesh.n_devices) if is_split else (1, 1),
            placements=(placement.value,),
        )
        file = self._cache.folder / f"{name}_dtype_{dtype.name}_layout_{layout.name}.tensorbin"
        host = self._load_if_right(self._cache, file, header)
        if host is None:
            self._make(self._cache, file, header, make_part)
            host = self._load_if_right(self._cache, file, header)
        if host is None:
            raise self._of_others(self._cache)
        self._has_loaded = True
        return host

    def _load_if_right(self, cache: CacheFolder, file: Path, header: tensorbin.Header) -> ttnn.Tensor | None:
        """Between the check and the load nobody changes the file; afterwards it is mapped, and may be replaced."""
        with cache.unchanged():
            if cache.identity != self._identity:
                if self._has_loaded:
                    raise self._of_others(cache)
                return None
            problem = cache.problem(file.name, tensorbin.encode(header))
            if not problem:
                return ttnn.load_tensor(str(file))
        if self._cache_only or file.name in cache.files:
            self._warn_or_refuse(file, problem)
        return None

    def _make(
        self, cache: CacheFolder, file: Path, header: tensorbin.Header, make_part: Callable[[int], torch.Tensor]
    ) -> None:
        if self._cache_only:
            self._warn_or_refuse(file, "is missing")
        try:
            self._check_room(cache, header.data_bytes)
            cache.write(file.name, header, make_part, self._identity, self._source, self._directory)
        except DiskFullError as error:
            raise CheckpointError(f"{error}, through MIXTRAL_CACHE_PATH") from error
        except OSError as error:
            raise CheckpointError(
                f"the weight cache {cache.folder} cannot be written ({reason(error)}); mend this, or set "
                "MIXTRAL_CACHE_PATH to another folder"
            ) from error

    def _of_others(self, cache: CacheFolder) -> CheckpointError:
        return CheckpointError(
            f"another process fills {cache.folder} with something else; set MIXTRAL_CACHE_PATH to a folder for each"
        )

    def _check_room(self, cache: CacheFolder, n_bytes: int) -> None:
        """Room for what is still to come, as far as it can be told, and at least for this file."""
        there = sum(entry.bytes for entry in cache.files.values())
        check_free_space(cache.folder, max(n_bytes, int(self._density * self._checkpoint.n_parameters()) - there))

    def _warn_or_refuse(self, path: Path, problem: str) -> None:
        if self._cache_only:
            raise CheckpointError(f"{path} {problem}; start without --cache-only to make it again")
        logger.warning(f"{path} {problem}; it is made again")
