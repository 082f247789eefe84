"""Mixtral 8x7B, all 32 layers, on the mocked T3000: every call is legal, and everything fits in its memory."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import ttnn

import ttnn_cpu
from models.mixtral8x7b.generator import Generator
from models.mixtral8x7b.tt.mesh import Mesh
from models.mixtral8x7b.tt.model import Mixtral
from tests.mock.program import MIXTRAL_8X7B, Section, build, prompts, set_rows

MANY_SHORT = Section(MIXTRAL_8X7B, "performance", 32, 16384, ())
FEW_LONG = Section(MIXTRAL_8X7B, "performance", 18, 32768, ())
GROUPS = {
    f"{section.preset}-{section.n_users}x{section.context}": section
    for section in (MANY_SHORT, FEW_LONG, replace(MANY_SHORT, preset="accuracy"), replace(FEW_LONG, preset="accuracy"))
}
LENGTHS = (128, 1024, 2048, 4096, 8192, 16384)
# what crosses between host and device, by the names of ttnn's graph capture
TRANSFERS = ("Tensor::cpu", "Tensor::to_device", "tt::tt_metal::copy_to_device", "ttnn.to_torch", "ttnn.from_torch")


@pytest.fixture(scope="module", params=GROUPS)
def section(request: pytest.FixtureRequest) -> Section:
    return GROUPS[request.param]


@pytest.fixture(scope="module")
def model(section: Section, mesh: Mesh) -> Mixtral:
    """Alone on the chips: a second one would not fit."""
    return build(section, mesh)


def operations(run: Callable[[], None]) -> list[str]:
    """Everything that ttnn's graph capture saw begin: public calls, what they call, device operations."""
    ttnn.graph.begin_graph_capture(ttnn.graph.RunMode.NORMAL)
    try:
        run()
    finally:
        nodes = ttnn.graph.end_graph_capture()
    return [node["params"]["name"] for node in nodes if node["node_type"] == "function_start"]


@pytest.mark.parametrize("occupancy", [1, 4, 8, 16, 32])
def test_decode(model: Mixtral, section: Section, occupancy: int) -> None:
    set_rows(model, section, occupancy, position=section.context - 4)
    model.step()
    programs = model.mesh.device.num_program_cache_entries()
    with ttnn_cpu.record(ttnn) as calls:
        model.step()
    assert model.mesh.device.num_program_cache_entries() == programs, "the second step builds no program"
    assert (calls.host_writes, calls.host_reads) == (0, 0)


def test_a_step_moves_nothing_between_host_and_device(model: Mixtral, section: Section) -> None:
    set_rows(model, section, 32)
    seen = operations(model.step)
    assert seen.count("SdpaDecodeDeviceOperation") == section.config.n_layers
    assert not set(TRANSFERS) & set(seen)
    positions = model.state.positions
    told = operations(lambda: model.mesh.update(positions, model.mesh.read_replicated(positions)))
    assert len(set(TRANSFERS) & set(told)) >= 3, "the names above are what ttnn calls a transfer"


@pytest.mark.parametrize("length", LENGTHS)
def test_prefill_in_one_pass(model: Mixtral, length: int) -> None:
    seen = operations(lambda: model.sampler.forward(model.prefill(prompts((length,))), model.state.tokens))
    assert seen.count("ttnn.transformer.scaled_dot_product_attention") == model.config.n_layers
    assert seen.count("SDPAOperation") == model.config.n_layers


def test_prefill_of_the_whole_context(model: Mixtral, section: Section) -> None:
    """32k goes in two passes, of which the second attends to the first's blocks."""
    seen = operations(lambda: model.sampler.forward(model.prefill(prompts((section.context,))), model.state.tokens))
    passes = section.context // LENGTHS[-1]
    fills = 2 * passes + (passes - 1)  # keys and values of each; and what attended from the cache is put back
    assert seen.count("ttnn.experimental.paged_fill_cache") == fills * model.config.n_layers
    attention = "ttnn.transformer.chunked_scaled_dot_product_attention"
    assert seen.count(attention) == (passes - 1) * model.config.n_layers


def test_generation_for_32_users(model: Mixtral) -> None:
    """Prompts of 1 to 249 tokens, prefilled in two passes; then a step is one host read, and builds no program."""
    prompts_of_32 = [[1] * (1 + 8 * user) for user in range(32)]
    programs, taken = [], [0] * 32
    with ttnn_cpu.record(ttnn) as calls:
        for column in Generator(model, trace=False).generate(prompts_of_32, max_new_tokens=5):
            taken = [n + (token is not None) for n, token in zip(taken, column, strict=True)]
            programs.append((model.mesh.device.num_program_cache_entries(), calls.host_writes, calls.host_reads))
    assert taken == [5] * 32
    *prefilled, (entries, writes, reads), _, _, _ = programs
    assert programs[-3:] == [(entries, writes, reads + step) for step in (1, 2, 3)]
    assert [at[2] for at in prefilled] == [1, 2], "a read for each pass"


def test_a_prompt_pushed_through_decode(model: Mixtral) -> None:
    """Nothing but decode steps, with a host read for each; the program is the one for 32 users."""
    generator = Generator(model, trace=False)
    assert len(list(generator.generate([[1]], max_new_tokens=1, prefill=0))) == 1
    programs = model.mesh.device.num_program_cache_entries()
    with ttnn_cpu.record(ttnn) as calls:
        columns = list(generator.generate([[1] * 5], max_new_tokens=3, prefill=0))
    assert len(columns) == 3
    assert calls.host_reads == 7
    assert model.mesh.device.num_program_cache_entries() == programs
