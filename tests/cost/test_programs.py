"""The cost of this project's programs at full size: bytes, FLOPs and operations against what they must be.

.venv/bin/python -m pytest --target cpu tests/cost/test_programs.py
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

import ttnn_cpu
from models.mixtral8x7b.config import MIXTRAL_8X7B, MoeConfig, Routing
from models.mixtral8x7b.cost import prediction
from models.mixtral8x7b.cost.chip import BANKS, tiled_bytes
from models.mixtral8x7b.cost.operation import Step
from models.mixtral8x7b.cost.recording import Programs, recorder
from models.mixtral8x7b.cost.study import Study, causes, their_first_tokens, their_step
from models.mixtral8x7b.tt.memory_plan import plan
from models.mixtral8x7b.tt.mesh import open_mesh
from models.mixtral8x7b.tt.precision import PRESETS
from tests.mock.program import MIXTRAL_8X22B, TINY, Section, build, set_rows

C = MIXTRAL_8X7B


@pytest.fixture(scope="module")
def programs() -> Iterator[Programs]:
    with recorder(C, "performance", 8, context=32768) as found:
        yield found


def _step(programs: Programs, users: int = 32, context: int = 4096) -> Step:
    return prediction.decode(programs.decode(), programs.load(), users, context).steps[0]


def _of(step: Step, *names: str) -> list[tuple[int, float, float]]:
    """Times, FLOPs and DRAM bytes of each of these operations."""
    return [(e.count, e.cost.flops, e.cost.dram) for e in step.entries if e.cost.name in names]


@pytest.mark.parametrize("precision", PRESETS)
def test_a_step_reads_the_weights_of_the_memory_plan(precision: str) -> None:
    with recorder(C, precision, 8, context=4096) as found:
        matmuls = _of(_step(found), "linear")
    weights = plan(C, PRESETS[precision], 8, 64, 4096).weights()
    planned = BANKS * (weights["experts"] + weights["attention"] + weights["LM head"])
    router = C.n_layers * tiled_bytes(C.dim, 64, "BFLOAT16")
    assert sum(count * dram for count, _, dram in matmuls) == planned + router


def test_flops_of_a_step_are_the_closed_formula(programs: Programs) -> None:
    layer = C.dim * 768 + 512 * C.dim + 3 * C.dim * C.hidden_dim + C.dim * 64
    matmuls = sum(count * flops for count, flops, _ in _of(_step(programs), "linear"))
    assert matmuls == 2 * 32 * (C.n_layers * layer + C.dim * 4000)


def test_keys_and_values_of_a_step(programs: Programs) -> None:
    """Whole chunks of 256 positions of each user who decodes, K and V, 1.0625 bytes a value."""
    for users, context in ((1, 128), (32, 4096), (5, 300)):
        ((count, _, dram),) = _of(_step(programs, users, context), "paged_scaled_dot_product_attention_decode")
        assert (count, dram) == (C.n_layers, users * -(-context // 256) * 256 * 2 * 128 * 1.0625)


def test_flops_of_a_dense_prefill_are_the_closed_formula(programs: Programs) -> None:
    (one,) = programs.prefill([1000])
    step = one.program.cost(replace(programs.load(), pieces=one.pieces))
    matmuls = sum(count * flops for count, flops, _ in _of(step, "minimal_matmul"))
    assert matmuls == 2 * 1024 * C.n_layers * (C.dim * 768 + 512 * C.dim + 3 * C.dim * C.hidden_dim)
    ((_, attention, _),) = _of(step, "scaled_dot_product_attention")
    assert attention == 4 * 4 * 128 * 1000 * (1000 + 256) / 2


def test_a_routed_prefill_multiplies_the_rows_of_the_fullest_chip(programs: Programs) -> None:
    (one,) = programs.prefill([16384])
    load = replace(programs.load(), pieces=one.pieces)
    assert load.share == pytest.approx(1.2 * 2 / 8)
    blocks = _of(one.program.cost(load), "sparse_matmul")
    assert sum(count * flops for count, flops, _ in blocks) == 2 * 10 * 512 * C.n_layers * 3 * C.dim * C.hidden_dim
    (dense,) = programs.prefill([16384], routed=False)
    assert not _of(dense.program.cost(load), "sparse_matmul")


def test_two_layers_make_all_layers(programs: Programs) -> None:
    section = Section(C, "performance", 1, 32768, ())
    with ttnn_cpu.specs_only(), open_mesh(8) as mesh:
        model = build(section, mesh)
        set_rows(model, section, 32)
        with ttnn_cpu.record(ttnn_cpu) as calls:
            model.step()
    assert Counter(call.line() for call in calls) == Counter(
        {call.line(): count for call, count in programs.decode().calls}
    )


def test_a_long_prompt_goes_on_from_the_cache(programs: Programs) -> None:
    first, second = programs.prefill([20000])
    assert (first.pieces, second.pieces) == (((16384, 0),), ((3616, 16384),))
    step = second.program.cost(replace(programs.load(), pieces=second.pieces))
    ((count, flops, _),) = _of(step, "chunked_scaled_dot_product_attention")
    assert (count, flops) == (C.n_layers, 4 * 4 * 128 * 4096 * ((4096 + 256) / 2 + 16384))


def test_ranges_and_the_roof(programs: Programs) -> None:
    study = Study(programs, "performance")
    for predicted in (study.decoding(32, 4096).predicted, study.first_tokens(2, 700).predicted):
        assert predicted.roof_ms < predicted.ms.low < predicted.ms.expected < predicted.ms.high
        between = sum(ms for _, ms in causes(predicted, most=1000))
        assert between == pytest.approx(predicted.ms.expected - predicted.roof_ms)
    assert [study.decoding(users, 32768).fits for users in (18, 19)] == [True, False]
    rate = study.decoding(32, 4096).predicted.tokens_s_user
    assert rate.low < rate.expected < rate.high
    assert study.decoding(32, 8192).predicted.ms.expected > 1e3 / rate.expected
    short = study.first_tokens(1, 100)
    assert short.predicted.ms == short.dense.ms
    assert short.predicted.ms.expected == pytest.approx(61.7 * short.predicted.steps[0].operations / 1e3 + 0.5)


def test_every_kind_of_model_has_laws_for_all_its_calls() -> None:
    odd = replace(TINY, moe=MoeConfig(4, 3, Routing.NONE), vocab_size=57000)
    for config, n_chips, precision in ((odd, 1, "accuracy"), (TINY, 4, "bfp4"), (MIXTRAL_8X22B, 8, "mixed")):
        with recorder(config, precision, n_chips, context=4096, fabric="line") as found:
            load = found.load()
            step = prediction.decode(found.decode(), load, 3, 100)
            first = prediction.prefill(found.prefill([2000, 100]), load)
        assert 0 < step.ms.low < first.ms.high


def test_the_other_mixtral_reads_its_experts_once() -> None:
    step = their_step(32, 128, chosen_on_chips=True).steps[0]
    up, down = (sum(n * dram for n, _, dram in _of(step, name)) for name in ("FF1, FF3", "FF2"))
    weights = plan(C, PRESETS["performance"], 8, 64, 4096).weights()
    assert up + down == BANKS * weights["experts"]
    host, chips = (their_step(32, 128, where).ms.expected for where in (False, True))
    assert host > chips
    assert len(their_first_tokens(3, 128).steps) == 3
