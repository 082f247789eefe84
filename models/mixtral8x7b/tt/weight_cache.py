"""Weights in device format: converted from the repacked checkpoint once, later only loaded.

    <folder>/layers.0.attention.wqkv_BFLOAT8_B_ttnn.tensorbin    one file per tensor, all chips' parts in it
    <folder>/manifest.json                                       whose weights, how many chips, and each file's size

A file counts only if the manifest names it; the manifest is written after the files, so an interrupted conversion is
done again. A file's name carries its dtype and the library that wrote it, whose format only it can read: the presets
and the targets share a folder.
"""

import json
import os
from pathlib import Path

import ttnn

from models.mixtral8x7b.repacked import RepackedCheckpoint
from models.mixtral8x7b.tt.mesh import Mesh, Placement
from models.mixtral8x7b.tt.weights import MakeTensor
from models.mixtral8x7b.weights import CheckpointError

VERSION = 1  # of the conversion: counted up when a tensor of the same name is made differently
MANIFEST = "manifest.json"


def cache_folder(cache_path: Path, flavour: str, experts: ttnn.DataType) -> Path:
    """<cache_path>/mixtral_tensor_cache[_instruct]_bfp8: the folder's name tells flavour and the experts' dtype."""
    suffix = {ttnn.bfloat8_b: "bfp8", ttnn.bfloat4_b: "bfp4", ttnn.bfloat16: "bf16"}[experts]
    return cache_path / f"mixtral_tensor_cache{'_instruct' if flavour == 'instruct' else ''}_{suffix}"


class CheckpointWeights:
    """Weights of a repacked checkpoint, cached in a folder, or converted at every start where there is none (None).

    Raises CheckpointError if the folder holds another model's weights, weights for another number of chips, or is not
    writable.
    """

    def __init__(self, checkpoint: RepackedCheckpoint, mesh: Mesh, folder: Path | None) -> None:
        self.config = checkpoint.config
        self._checkpoint = checkpoint
        self._mesh = mesh
        self._folder = folder
        self._identity = {"version": VERSION, "fingerprint": checkpoint.fingerprint, "n_devices": mesh.n_devices}
        self._files: dict[str, int] = self._read_manifest(folder) if folder else {}
        self._has_new_files = False

    def load(
        self,
        name: str,
        shape: tuple[int, int, int, int],
        make: MakeTensor,
        dtype: ttnn.DataType,
        placement: Placement,
        layout: ttnn.Layout = ttnn.TILE_LAYOUT,
        memory_config: ttnn.MemoryConfig = ttnn.DRAM_MEMORY_CONFIG,
    ) -> ttnn.Tensor:
        host = self._cached(name, self._mesh.local_shape(shape, placement), dtype, layout)
        if host is None:
            value = make(self._checkpoint.tensor)
            if tuple(value.shape) != shape:
                raise ValueError(f"{name} was made as {list(value.shape)}; {list(shape)} announced")
            host = self._mesh.to_host(value, placement, dtype, layout)
            self._store(name, dtype, host)
        return ttnn.to_device(host, self._mesh.device, memory_config=memory_config)

    def finish(self) -> None:
        """Writes the manifest if files were added."""
        if self._folder and self._has_new_files:
            temporary = self._folder / f"{MANIFEST}.{os.getpid()}"
            temporary.write_text(json.dumps(self._identity | {"files": self._files}, indent=1, sort_keys=True) + "\n")
            temporary.replace(self._folder / MANIFEST)

    def _cached(self, name: str, shape: list[int], dtype: ttnn.DataType, layout: ttnn.Layout) -> ttnn.Tensor | None:
        """The tensor of a file that the manifest names and that is what is wanted; None where it must be made again."""
        if self._folder is None:
            return None
        file = self._folder / _file_name(name, dtype)
        if file.name not in self._files or not file.is_file() or file.stat().st_size != self._files[file.name]:
            return None
        try:
            host = ttnn.load_tensor(str(file))
        except (RuntimeError, MemoryError):  # damaged
            return None
        is_wanted = (list(host.shape), host.dtype, host.layout) == (shape, dtype, layout)
        return host if is_wanted else None

    def _store(self, name: str, dtype: ttnn.DataType, host: ttnn.Tensor) -> None:
        if self._folder is None:
            return
        file = self._folder / _file_name(name, dtype)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            ttnn.dump_tensor(str(file), host)
            self._files[file.name] = file.stat().st_size
        except (OSError, RuntimeError) as error:
            raise CheckpointError(
                f"the weight cache {self._folder} is not writable ({error}); set MIXTRAL_CACHE_PATH to a folder that is"
            ) from error
        self._has_new_files = True

    def _read_manifest(self, folder: Path) -> dict[str, int]:
        file = folder / MANIFEST
        if not file.is_file():
            return {}
        try:
            manifest = json.loads(file.read_text())
            there, files = {key: manifest[key] for key in self._identity}, dict(manifest["files"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{file} is damaged ({error!r}); delete the folder {folder}") from error
        for key, what in (
            ("version", "was written by another version of this program"),
            ("fingerprint", "holds the weights of another checkpoint"),
            ("n_devices", f"holds weights for {there['n_devices']} chips, not {self._mesh.n_devices}"),
        ):
            if there[key] != self._identity[key]:
                raise CheckpointError(f"{folder} {what}; set MIXTRAL_CACHE_PATH to another folder, or delete this one")
        return files


def _file_name(name: str, dtype: ttnn.DataType) -> str:
    return f"{name}_{dtype.name}_{ttnn.__name__}.tensorbin"
