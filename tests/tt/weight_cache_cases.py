"""A small checkpoint and its weight cache for tests, and what is asked of a cache on every target and scale."""

import shutil
from pathlib import Path

import pytest
import torch
import ttnn
from loguru import logger

from models.mixtral8x7b.checkpoint.cache_folder import CacheFolder
from models.mixtral8x7b.checkpoint.repack import repack
from models.mixtral8x7b.checkpoint.repacked import RepackedCheckpoint
from models.mixtral8x7b.tt.mesh import Mesh, open_mesh
from models.mixtral8x7b.tt.model import Mixtral
from models.mixtral8x7b.tt.precision import ACCURACY, PERFORMANCE, Precision
from models.mixtral8x7b.tt.weight_cache import CheckpointWeights
from tests.checkpoint.kills import inodes, run_with_kills, seconds_of
from tests.tiny_models import contents, random_model, write_consolidated
from tests.tt.cases import sliceable_config

WO = "layers.1.attention.wo_dtype_BFLOAT8_B_layout_TILE.tensorbin"
EXPERT = "layers.0.feed_forward.experts.slot0.w1_dtype_BFLOAT8_B_layout_TILE.tensorbin"


@pytest.fixture(scope="module")
def repacked(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    for seed in (0, 1):
        source = folder / f"source{seed}"
        write_consolidated(random_model(sliceable_config(), seed), source)
        (source / "tokenizer.model").write_bytes(b"pieces")
        repack(source, folder / f"repacked{seed}")
    return folder / "repacked0"


@pytest.fixture(scope="module")
def cache(repacked: Path) -> Path:
    """A whole cache, to be copied before anything is done to it."""
    folder = repacked.with_name("cache")
    with open_mesh(8) as mesh:
        logits(mesh, CheckpointWeights(RepackedCheckpoint(repacked), mesh, folder))
    return folder


@pytest.fixture
def copy(cache: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(cache, tmp_path / "cache"))


@pytest.fixture
def warnings() -> list[str]:
    seen: list[str] = []
    sink = logger.add(lambda message: seen.append(message.record["message"]), level="WARNING")
    yield seen
    logger.remove(sink)


def logits(mesh: Mesh, weights: CheckpointWeights, precision: Precision = PERFORMANCE) -> torch.Tensor:
    model = Mixtral(weights, mesh, precision, n_blocks=32, max_context=64)
    model.state.set_rows(list(range(32)), [0] * 32)
    model.state.set_blocks([[row] for row in range(32)])
    return model.read_logits(model.decode_logits())


def flip(file: Path, bit: int) -> None:
    content = bytearray(file.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)


def check_files(repacked: Path, tmp_path: Path, n_devices: int) -> None:
    """The cache's files have the bytes of `ttnn.dump_tensor` of the same weights: one of each kind of placement."""
    checkpoint = RepackedCheckpoint(repacked)
    with open_mesh(n_devices) as mesh:
        Mixtral(CheckpointWeights(checkpoint, mesh, tmp_path / "cache"), mesh, ACCURACY, n_blocks=1, max_context=64)
        expert = torch.stack([checkpoint.tensor(f"layers.0.feed_forward.experts.{d}.w1.weight").T for d in range(8)])
        slots = 8 // n_devices
        parts = ttnn.from_torch(
            expert[::slots, None], ttnn.bfloat8_b, mesh_mapper=ttnn.ShardTensorToMesh(mesh.device, dim=0)
        )
        ttnn.dump_tensor(tmp_path / "expert.tensorbin", parts)
        wo = checkpoint.tensor("layers.1.attention.wo.weight").T[None, None]
        rows = ttnn.ShardTensorToMesh(mesh.device, dim=2)
        ttnn.dump_tensor(
            tmp_path / "wo.tensorbin",
            ttnn.from_torch(wo, ttnn.bfloat16, layout=ttnn.TILE_LAYOUT, mesh_mapper=rows),
        )
        ttnn.dump_tensor(
            tmp_path / "table.tensorbin",
            ttnn.from_torch(checkpoint.tensor("tok_embeddings.weight")[None, None], ttnn.bfloat16),
        )
    for name, file in (
        (EXPERT, "expert"),
        (WO.replace("BFLOAT8_B", "BFLOAT16"), "wo"),
        ("tok_embeddings_dtype_BFLOAT16_layout_ROW_MAJOR.tensorbin", "table"),
    ):
        assert (tmp_path / "cache" / name).read_bytes() == (tmp_path / f"{file}.tensorbin").read_bytes(), name


def check_kills(repacked: Path, cache: Path, out: Path, n_kills: int) -> None:
    def code(folder: Path) -> str:
        return (
            "from models.mixtral8x7b.target import use_target\nuse_target('cpu')\nfrom pathlib import Path\n"
            "from models.mixtral8x7b.checkpoint.repacked import RepackedCheckpoint\n"
            "from models.mixtral8x7b.tt.mesh import open_mesh\nfrom models.mixtral8x7b.tt.model import Mixtral\n"
            "from models.mixtral8x7b.tt.precision import PERFORMANCE\n"
            "from models.mixtral8x7b.tt.weight_cache import CheckpointWeights\n"
            "# work\nwith open_mesh(8) as mesh:\n"
            f"    weights = CheckpointWeights(RepackedCheckpoint({str(repacked)!r}), mesh, Path({str(folder)!r}))\n"
            "    Mixtral(weights, mesh, PERFORMANCE, n_blocks=1, max_context=64)"
        )

    finished: dict[str, int] = {}

    def after_kill() -> None:
        files = CacheFolder(out).files
        now = inodes(out, "*.tensorbin")
        assert finished.items() <= now.items(), "a finished file was written again"
        assert [file for file in now if (out / file).read_bytes() != (cache / file).read_bytes()] == []
        finished.update({name: inode for name, inode in now.items() if name in files})
        assert len(list(out.glob("*.tmp"))) <= 1

    def start_over() -> None:
        shutil.rmtree(out)
        finished.clear()

    seconds = seconds_of(code(out.with_name("undisturbed")))
    run_with_kills(code(out), n_kills, 0.7 * seconds, after_kill, start_over)
    assert contents(out) == contents(cache)
