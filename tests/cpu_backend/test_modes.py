"""exact_values, specs_only, record, install."""

import subprocess
import sys
import textwrap

import pytest
import torch

import ttnn_cpu as ttnn
from tests.cpu_backend.helpers import ROWS, TILE, counters, get, open_mesh, put, sharded, spec


def test_exact_values_keep_float32_with_the_same_specs() -> None:
    mesh = open_mesh(2)
    x, w = torch.randn(1, 1, 32, 64), torch.randn(2, 1, 64, 64)

    def program() -> ttnn.Tensor:
        y = ttnn.linear(put(mesh, x, ttnn.bfloat16), put(mesh, w, ttnn.bfloat4_b, shard=0), dtype=ttnn.bfloat8_b)
        return ttnn.all_reduce(ttnn.typecast(y, ttnn.bfloat16))

    rounded = program()
    with ttnn.exact_values():
        exact = program()
        assert spec(exact) == spec(rounded)
        assert ttnn.to_torch(ttnn.get_device_tensors(exact)[0]).dtype is torch.float32
        torch.testing.assert_close(get(exact), (x @ w[:1]) + (x @ w[1:]))
        with pytest.raises(RuntimeError, match="Only TILE"):
            ttnn.typecast(ttnn.to_layout(exact, ROWS), ttnn.bfloat8_b)
    assert (get(rounded).float() - (x @ w.sum(0))).abs().max() > 0.01
    assert torch.equal(get(program()), get(rounded)), "rounding is on again"


def test_specs_only_computes_nothing_at_full_size() -> None:
    with ttnn.specs_only():
        mesh = open_mesh(8)
    w = ttnn.from_torch(
        torch.empty(8, 4096, 14336, device="meta"),
        dtype=ttnn.bfloat8_b,
        layout=TILE,
        device=mesh,
        mesh_mapper=ttnn.ShardTensorToMesh(mesh, dim=0),
    )
    x = ttnn.empty([1, 1, 16384, 4096], ttnn.bfloat16, TILE, mesh)
    for _ in range(100):
        y = ttnn.experimental.minimal_matmul(x, w, dtype=ttnn.bfloat8_b)
    assert y.shape == [1, 1, 16384, 14336]
    assert ttnn.to_torch(ttnn.get_device_tensors(y)[0]).is_meta
    assert ttnn.to_torch(y, mesh_composer=ttnn.ConcatMeshToTensor(mesh, dim=3)).shape[-1] == 8 * 14336
    with pytest.raises(RuntimeError, match="Mismatch"):
        ttnn.linear(x, ttnn.empty([1, 1, 2048, 64], layout=TILE, device=mesh))
    trace = ttnn.begin_trace_capture(mesh)
    ttnn.experimental.minimal_matmul(x, w, dtype=ttnn.bfloat8_b)
    ttnn.end_trace_capture(mesh, trace)
    ttnn.execute_trace(mesh, trace)


def test_a_real_mesh_takes_no_spec_without_values() -> None:
    with pytest.raises(RuntimeError, match="no values"):
        ttnn.from_torch(torch.empty(4, 4, device="meta"), device=open_mesh())


def test_record() -> None:
    mesh = open_mesh(2)
    x = put(mesh, torch.randn(1, 1, 5, 256), ttnn.bfloat16, memory_config=sharded("WIDTH", 8, 32, 32))
    kernel = ttnn.WormholeComputeKernelConfig(math_fidelity=ttnn.MathFidelity.LoFi)
    with ttnn.record(ttnn) as calls:
        y = ttnn.rms_norm(x, epsilon=1e-5, compute_kernel_config=kernel)
        values, _ = ttnn.topk(ttnn.sharded_to_interleaved(y), 2)
        ttnn.copy_host_to_device_tensor(ttnn.from_torch(torch.zeros(3, dtype=torch.int32)), counters(mesh, [1, 2, 3]))
        ttnn.to_torch(ttnn.get_device_tensors(values)[0])
    place = f"L1/WIDTH_SHARDED[32, 32]@{{{', '.join(f'{x}-0..{x}-0' for x in range(8))}}}/ROW_MAJOR"
    sharded_spec = f"[1, 1, 5, 256] pad[1, 1, 32, 256] BFLOAT16 TILE {place}"
    assert calls.lines()[0] == (
        f"rms_norm(input_tensor={sharded_spec}, epsilon=1e-05, compute_kernel_config=WormholeComputeKernelConfig("
        "math_fidelity=MathFidelity.LoFi, math_approx_mode=True, fp32_dest_acc_en=False, packer_l1_acc=False, "
        f"dst_full_sync_en=False)) -> {sharded_spec}"
    )
    names = [call.name for call in calls]
    assert names == [
        *("rms_norm", "sharded_to_interleaved", "topk"),
        *("from_torch", "from_torch", "copy_host_to_device_tensor", "to_torch"),
    ]
    assert (calls.host_writes, calls.host_reads) == (2, 1), "a tensor made on the host crosses nothing"
    assert calls[2].outputs == (
        "[1, 1, 5, 2] pad[1, 1, 32, 32] BFLOAT16 TILE DRAM/INTERLEAVED",
        "[1, 1, 5, 2] pad[1, 1, 32, 32] UINT16 TILE DRAM/INTERLEAVED",
    )
    ttnn.silu(y)
    assert len(calls) == 7, "the wrappers are gone"


def test_record_binds_positions_and_keywords_alike_and_sees_the_namespaces() -> None:
    mesh = open_mesh()
    qkv = put(mesh, torch.randn(1, 1, 32, 128))
    with ttnn.record(ttnn) as calls:
        ttnn.add(qkv, qkv)
        ttnn.add(input_tensor_a=qkv, input_tensor_b=qkv)
        ttnn.experimental.nlp_create_qkv_heads(qkv, num_heads=2, num_kv_heads=1)
        ttnn.transformer.scaled_dot_product_attention(*[put(mesh, torch.randn(1, 1, 32, 32), ttnn.bfloat16)] * 3)
        with pytest.raises(RuntimeError):
            ttnn.add(qkv, put(mesh, torch.randn(1, 1, 32, 3)))
    assert calls[0] == calls[1]
    assert [c.name for c in calls][2:] == [
        "experimental.nlp_create_qkv_heads", "from_torch", "transformer.scaled_dot_product_attention", "from_torch",
    ]  # fmt: skip


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)


def test_install() -> None:
    done = run_python(
        """
        import ttnn_cpu
        ttnn_cpu.install(); ttnn_cpu.install()
        import ttnn
        import ttnn.experimental
        from ttnn.transformer import scaled_dot_product_attention
        assert ttnn is ttnn_cpu and ttnn.experimental is ttnn_cpu.experimental
        """
    )
    assert done.returncode == 0, done.stderr


def test_install_beside_another_ttnn() -> None:
    done = run_python(
        """
        import sys, types
        sys.modules["ttnn"] = types.ModuleType("ttnn")
        import ttnn_cpu
        ttnn_cpu.from_torch
        ttnn_cpu.install()
        """
    )
    assert done.returncode == 1
    assert "RuntimeError: another ttnn is already imported" in done.stderr
