"""The cost model's laws against cases worked out by hand.

.venv/bin/python -m pytest tests/cost/test_laws.py
"""

from math import log

import pytest

from models.mixtral8x7b.cost import chip, elementwise, matmul, sdpa
from models.mixtral8x7b.cost.calls import CostError, Load, costs_of
from models.mixtral8x7b.cost.collectives import TABLES, collective
from models.mixtral8x7b.cost.host import host_sampling_ms
from models.mixtral8x7b.cost.operation import Cost, Step
from models.mixtral8x7b.cost.specs import spec_of
from tests.sentences import faults
from ttnn_cpu.recorder import Call


def test_peaks() -> None:
    assert [round(chip.peak_tflops(name), 1) for name in chip.FIDELITY_CYCLES] == [262.1, 131.1, 87.4, 65.5]


def test_a_weight_over_the_banks() -> None:
    # 14336 columns over 12 banks: 1194.7, so 38 tiles each; 128 tiles of rows
    w1 = matmul.over_banks(32, 4096, 14336, "BFLOAT8_B", "HiFi2", 4)
    assert w1.dram == 128 * 38 * 12 * 1088 == chip.over_banks_bytes(4096, 14336, "BFLOAT8_B")
    assert w1.us == pytest.approx(4.95 + 63_504_384 / 257_300)
    assert w1.limit == "DRAM"
    assert w1.flops == 2 * 32 * 4096 * 14336
    # bfp4 halves the bytes, HiFi4 takes 64 cycles for each of a core's 38 x 128 products
    slow = matmul.over_banks(32, 4096, 14336, "BFLOAT4_B", "HiFi4", 8)
    assert slow.us == pytest.approx(4.95 + 38 * 128 * 64 / 1000)
    assert slow.limit == "math"
    # FF1 of the published pair, on 64 cores: 64 blocks of 2 tiles
    assert matmul.over_banks(32, 4096, 6144, "BFLOAT4_B", "LoFi", 2).us == pytest.approx(95.8, abs=0.1)
    assert matmul.over_banks(32, 4096, 6144, "BFLOAT4_B", "LoFi", 2).limit == "cores"


def test_a_narrow_weight_and_many_rows() -> None:
    router = matmul.narrow(32, 4096, 64, "BFLOAT16", "HiFi3", 4)
    assert router.us == pytest.approx(4.95 + 1.42 * 32)
    assert router.parts["math"] == pytest.approx(128 * 48 / 1000)
    many = matmul.prefill(16384, 4096, 768, "BFLOAT8_B", "HiFi2", 0.0)
    assert many.us == pytest.approx(4.95 + 2 * 16384 * 4096 * 768 / 1e6 / matmul.PREFILL_TFLOP_S)
    few = matmul.prefill(32, 4096, 14336, "BFLOAT8_B", "HiFi2", 0.0)
    assert few.limit == "DRAM"
    blocks = matmul.blocks(3, 256, 4096, 14336, "BFLOAT8_B", "HiFi2", 1e6, 63e6)
    assert blocks.parts["DRAM"] == pytest.approx(3 * 64e6 / 193_000)
    assert blocks.flops == 3 * 2 * 256 * 4096 * 14336


@pytest.mark.parametrize(
    ("users", "kv_heads", "context", "cores_of_a_head", "cores"),
    [(1, 1, 32768, 16, 16), (1, 4, 32768, 16, 64), (1, 8, 32768, 8, 64), (32, 1, 32768, 2, 64), (32, 1, 128, 1, 32)],
)
def test_attention_of_a_step(users: int, kv_heads: int, context: int, cores_of_a_head: int, cores: int) -> None:
    fixed = {1: 447 / 36, 2: (447 + 811) / 72, 8: 1265 / 36, 16: 1464 / 36}[cores_of_a_head]
    found = sdpa.decode(users, kv_heads, 128, context, "BFLOAT8_B")
    positions = max(context, 256)  # a whole chunk
    kv_bytes = users * kv_heads * positions * 2 * 128 * 1.0625
    assert found.dram == kv_bytes
    assert found.us == pytest.approx(fixed + kv_bytes / 1e3 / (209.3 * cores / 64))


def test_attention_of_a_prefill() -> None:
    alone = sdpa.prefill(4, 128, [(1024, 0)], 0.0)
    assert alone.flops == 4 * 4 * 128 * 1024 * (1024 + 256) / 2
    assert sdpa.prefill(4, 128, [(1024, 0)] * 2, 0.0).flops == 2 * alone.flops
    later = sdpa.prefill(4, 128, [(1024, 4096)], 0.0)
    assert later.flops - alone.flops == 4 * 4 * 128 * 1024 * 4096
    assert later.us == pytest.approx(4.95 + later.flops / 1e6 / sdpa.PREFILL_TFLOP_S)


def test_collectives_go_through_the_table_and_are_laws_elsewhere() -> None:
    for (kind, fabric), table in TABLES.items():
        for size, us in table.items():
            assert collective(kind, size * 1024, 8, fabric).us == pytest.approx(us)
    between = collective("all_gather", 139264, 8, "ring")  # 32 x 4096 in bfp8
    share = log(139264 / 131072) / log(2)
    assert between.us == pytest.approx(24.08 * (31.51 / 24.08) ** share)
    assert collective("reduce_scatter", 262144, 4, "ring").us == pytest.approx(3.23 + 6.12 + 0.75 * 262.144 / 16.7)
    assert collective("all_gather", 1024, 8, "line").us == pytest.approx(4.47 + 13.37 + 0.875 * 1.024 / 11.8)
    older = collective("reduce_scatter", 262144, 8, "ring", older=True)
    assert older.us == pytest.approx(1.45 * 49.75)
    assert collective("all_gather", 262144, 8, "ring", older=True).us == pytest.approx(31.51)
    assert collective("all_gather", 8e6, 8, "line").link == 7e6 == 2 * collective("all_gather", 8e6, 8, "ring").link


def test_tile_by_tile() -> None:
    assert elementwise.in_l1("multiply", 3).us == pytest.approx(3.3, abs=0.01)
    assert elementwise.in_l1("multiply", 24).us == pytest.approx(21.8, abs=0.01)
    assert elementwise.topk(32, 75968, 32, 0.0, 0.0).us == pytest.approx(22460, rel=1e-3)
    assert elementwise.topk(2048, 64, 32, 0.0, 0.0).us == elementwise.topk(32, 64, 32, 0.0, 0.0).us
    assert elementwise.topk(32, 4096, 32, 0.0, 0.0).us == pytest.approx(0.66 + 288.7 / 48 * (128 / 16 + 16))
    assert elementwise.argmax(75968).us == pytest.approx(1380, rel=1e-3)
    assert host_sampling_ms(151936) == pytest.approx(0.611 + 0.818 + 2.593 + 1.786)


def test_limits_and_sums() -> None:
    one = Cost("a", 5.0, {"DRAM": 4.0, "math": 3.0}, flops=131.072e6, dram=2.88e6, link=1.25e5)
    assert (one.us, one.limit, one.roof) == (9.0, "fixed", 10.0)
    assert one.roofs == pytest.approx({"math": 1.0, "DRAM": 10.0, "links": 10.0})
    step = Step.of([(one, 2), (one.named("b", ""), 1), (one, 3), (one, 0)])
    assert [(entry.cost.name, entry.count) for entry in step.entries] == [("a", 5), ("b", 1)]
    assert (step.operations, step.us, step.roof, step.dram) == (6, 54.0, 60.0, 6 * 2.88e6)
    assert step.by_limit() == {"fixed": 54.0}


def test_specs() -> None:
    weight = spec_of("[1, 1, 4096, 14336] BFLOAT8_B TILE DRAM/WIDTH_SHARDED[4096, 1216]@{0-0..11-0}/ROW_MAJOR")
    assert weight is not None
    assert (weight.bytes, weight.shard, weight.l1) == (128 * 38 * 12 * 1088, (4096, 1216), 0)
    sharded = "L1/HEIGHT_SHARDED[32, 128]@{0-0..7-3}/ROW_MAJOR"
    padded = spec_of(f"[1, 32, 4, 128] pad[1, 32, 32, 128] BFLOAT16 TILE {sharded}")
    assert padded is not None
    assert (padded.shape, padded.text(), padded.tiles_per_core) == ((1, 32, 32, 128), "1x32x4x128 bf16", 4)
    rows = spec_of("[1, 16384] UINT32 ROW_MAJOR DRAM/INTERLEAVED")
    assert rows is not None
    assert rows.dram == 65536
    assert spec_of("torch[1, 2] torch.int32") is None


def test_a_call_without_a_law_is_a_mistake() -> None:
    tensor = "[1, 1, 32, 32] BFLOAT16 TILE L1/INTERLEAVED"
    unknown = Call("fly", (tensor,), (("x", tensor),), (tensor,))
    with pytest.raises(CostError) as told:
        costs_of(unknown, Load(8))
    assert "fly" in str(told.value)
    assert not faults(str(told.value))
    moved = Call("to_device", (tensor.replace("L1/INTERLEAVED", "HOST"),), (), (tensor,))
    assert costs_of(moved, Load(8)) == []
