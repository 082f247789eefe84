"""The weight cache: cached equals fresh bit for bit, and a cache of something else is never used."""

from pathlib import Path

import pytest
import torch
import ttnn

from models.mixtral8x7b.repack import repack
from models.mixtral8x7b.repacked import RepackedCheckpoint
from models.mixtral8x7b.tt.mesh import Mesh, open_mesh
from models.mixtral8x7b.tt.model import Mixtral
from models.mixtral8x7b.tt.precision import ACCURACY, PERFORMANCE, Precision
from models.mixtral8x7b.tt.weight_cache import CheckpointWeights, cache_folder
from models.mixtral8x7b.weights import CheckpointError
from tests.tiny_models import random_model, write_consolidated
from tests.tt.cases import sliceable_config


@pytest.fixture(scope="module")
def repacked(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    for seed in (0, 1):
        write_consolidated(random_model(sliceable_config(), seed), folder / f"source{seed}")
        repack(folder / f"source{seed}", folder / f"repacked{seed}")
    return folder / "repacked0"


def logits(mesh: Mesh, weights: CheckpointWeights, precision: Precision = PERFORMANCE) -> torch.Tensor:
    model = Mixtral(weights, mesh, precision, n_blocks=32, max_context=64)
    model.state.set_rows(list(range(32)), [0] * 32)
    model.state.set_blocks([[row] for row in range(32)])
    return model.read_logits(model.decode_logits())


def file_times(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}


def test_cached_equals_fresh_bit_for_bit_and_the_second_start_reads_no_weights(repacked: Path, tmp_path: Path) -> None:
    checkpoint = RepackedCheckpoint(repacked)
    with open_mesh(8) as mesh:
        fresh = logits(mesh, CheckpointWeights(checkpoint, mesh, None))
        written = logits(mesh, CheckpointWeights(checkpoint, mesh, tmp_path / "cache"))
        before = file_times(tmp_path / "cache")

        def touched(name: str) -> torch.Tensor:
            raise AssertionError(f"{name} was read")

        checkpoint.tensor = touched  # type: ignore[method-assign]
        cached = logits(mesh, CheckpointWeights(checkpoint, mesh, tmp_path / "cache"))
    assert torch.equal(fresh, written)
    assert torch.equal(fresh, cached)
    assert file_times(tmp_path / "cache") == before
    assert not [name for name in before if not name.endswith((".tensorbin", "manifest.json"))]


def test_presets_share_a_folder(repacked: Path, tmp_path: Path) -> None:
    checkpoint = RepackedCheckpoint(repacked)
    with open_mesh(8) as mesh:
        for precision in (PERFORMANCE, ACCURACY):
            fresh = logits(mesh, CheckpointWeights(checkpoint, mesh, None), precision)
            for _ in range(2):
                weights = CheckpointWeights(checkpoint, mesh, tmp_path)
                assert torch.equal(logits(mesh, weights, precision), fresh)
    names = {file.name for file in tmp_path.iterdir()}
    assert {
        "layers.0.attention.wo_BFLOAT8_B_ttnn_cpu.tensorbin",
        "layers.0.attention.wo_BFLOAT16_ttnn_cpu.tensorbin",
    } <= names
    assert "layers.0.feed_forward.experts.slot0.w1_BFLOAT16_ttnn_cpu.tensorbin" not in names


def test_folder_names_are_the_original_demos() -> None:
    assert cache_folder(Path("c"), "base", ttnn.bfloat8_b) == Path("c/mixtral_tensor_cache_bfp8")
    assert cache_folder(Path("c"), "instruct", ttnn.bfloat8_b) == Path("c/mixtral_tensor_cache_instruct_bfp8")


def test_an_interrupted_conversion_is_done_again(repacked: Path, tmp_path: Path) -> None:
    """No manifest yet: what stands there is not trusted, even under the right name."""
    with open_mesh(8) as mesh:
        other = RepackedCheckpoint(repacked.with_name("repacked1"))
        logits(mesh, CheckpointWeights(other, mesh, tmp_path))
        (tmp_path / "manifest.json").unlink()
        checkpoint = RepackedCheckpoint(repacked)
        fresh = logits(mesh, CheckpointWeights(checkpoint, mesh, None))
        assert torch.equal(logits(mesh, CheckpointWeights(checkpoint, mesh, tmp_path)), fresh)


def test_a_file_that_is_gone_short_or_unreadable_is_made_again(repacked: Path, tmp_path: Path) -> None:
    checkpoint = RepackedCheckpoint(repacked)
    with open_mesh(8) as mesh:
        fresh = logits(mesh, CheckpointWeights(checkpoint, mesh, tmp_path))
        (tmp_path / "output_BFLOAT8_B_ttnn_cpu.tensorbin").unlink()
        short = tmp_path / "layers.1.attention.wo_BFLOAT8_B_ttnn_cpu.tensorbin"
        short.write_bytes(short.read_bytes()[:1000])
        damaged = tmp_path / "layers.1.attention.wqkv_BFLOAT8_B_ttnn_cpu.tensorbin"
        damaged.write_bytes(b"x" * damaged.stat().st_size)
        assert torch.equal(logits(mesh, CheckpointWeights(checkpoint, mesh, tmp_path)), fresh)


def test_a_cache_of_something_else_is_refused(repacked: Path, tmp_path: Path) -> None:
    checkpoint, other = RepackedCheckpoint(repacked), RepackedCheckpoint(repacked.with_name("repacked1"))
    with open_mesh(8) as mesh:
        logits(mesh, CheckpointWeights(checkpoint, mesh, tmp_path))
        with pytest.raises(CheckpointError, match="holds the weights of another checkpoint; set MIXTRAL_CACHE_PATH"):
            CheckpointWeights(other, mesh, tmp_path)
    with open_mesh(4) as mesh, pytest.raises(CheckpointError, match="holds weights for 8 chips, not 4"):
        CheckpointWeights(checkpoint, mesh, tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    with open_mesh(8) as mesh, pytest.raises(CheckpointError, match=r"manifest.json is damaged .* delete the folder"):
        CheckpointWeights(checkpoint, mesh, tmp_path)


def test_a_folder_that_is_not_writable_is_named(repacked: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with open_mesh(8) as mesh, pytest.raises(CheckpointError, match="is not writable .* set MIXTRAL_CACHE_PATH"):
        logits(mesh, CheckpointWeights(RepackedCheckpoint(repacked), mesh, tmp_path / "file" / "cache"))
