"""After a warm-up one trace of the decode step lives on while prefill passes of every kind run."""

import random
from collections.abc import Callable, Iterator

import pytest

import ttnn_cpu
from models.mixtral8x7b.packing import Pass, Piece, attended_rows, pack
from models.mixtral8x7b.paging import Prompt
from models.mixtral8x7b.sampling import GREEDY
from models.mixtral8x7b.tt.decode_state import NO_USER
from models.mixtral8x7b.tt.mesh import open_mesh
from models.mixtral8x7b.tt.model import Mixtral
from models.mixtral8x7b.tt.precision import PERFORMANCE
from models.mixtral8x7b.tt.traced_step import TracedStep
from models.mixtral8x7b.tt.warm_up import passes_of_every_kind, warm_up
from models.mixtral8x7b.tt.weights import EmptyWeights
from tests.prompt_mixes import random_prompts
from tests.tt.cases import random_ids, sliceable_config
from tests.tt.prefill_cases import build

CONTEXT = 1500  # no power of two, no multiple of a block


@pytest.fixture(params=[1, 8])
def model(request: pytest.FixtureRequest) -> Iterator[Mixtral]:
    """That computes nothing."""
    with ttnn_cpu.specs_only(), open_mesh(request.param) as mesh:
        yield Mixtral(EmptyWeights(sliceable_config(n_layers=1), mesh), mesh, PERFORMANCE, 100, CONTEXT)


def test_passes_of_every_kind_have_every_size_and_number_of_rows() -> None:
    """What packing makes of any prompts is among them; none has a piece that cannot be."""
    kinds = set()
    for one in passes_of_every_kind(8192, CONTEXT, 100):
        kinds |= {(one.size, attended_rows(piece.rows) if piece.start else 0) for piece in one.pieces}
        for piece in one.pieces:
            assert piece.end <= CONTEXT
            assert piece.at + (attended_rows(piece.rows) if piece.start else piece.rows) <= one.size
            assert len(set(piece.prompt.blocks)) == len(piece.prompt.blocks)
    generator, seen = random.Random(0), set()
    for _ in range(300):
        for one in pack(random_prompts(generator, 100, CONTEXT)):
            seen |= {(one.size, attended_rows(piece.rows) if piece.start else 0) for piece in one.pieces}
    assert seen <= kinds
    assert len(seen) > 0.6 * len(kinds)


@pytest.mark.parametrize(
    ("largest", "context", "n_blocks", "count"), [(256, 64, 1, 1), (256, 129, 3, 2), (512, 4096, 8, 6)]
)
def test_few_blocks_or_a_short_context_have_fewer_kinds(largest: int, context: int, n_blocks: int, count: int) -> None:
    passes = list(passes_of_every_kind(largest, context, n_blocks))
    assert len(passes) == count


def test_nothing_is_built_and_nothing_stays_between_replays(model: Mixtral) -> None:
    warm_up(model)
    step = TracedStep(model.mesh, model.step)
    step.record()
    built = model.mesh.device.num_program_cache_entries()
    generator = random.Random(1)
    for _ in range(30):
        for one in model.passes(random_prompts(generator, 100, CONTEXT)):
            model.sampler.set([GREEDY] * 32)
            model.sampler.forward(model.prefill_pass(one), model.state.tokens)
            step()
        model.state.set_rows([1] * 32, [5] * 32)
        model.state.set_blocks([[row] for row in range(32)])
        model.step()
        step()
    assert model.mesh.device.num_program_cache_entries() == built


def test_a_pass_that_was_not_warmed_is_refused(model: Mixtral) -> None:
    warm_up(model)
    TracedStep(model.mesh, model.step).record()
    too_large = Pass(2 * model.largest_pass, (Piece(Prompt(0, [1] * 100, [0, 1]), 0, 100, 0),))
    with pytest.raises(RuntimeError, match="its program was not built before the trace was captured"):
        model.prefill_pass(too_large)


def test_a_lasting_trace_gives_the_bits_of_plain_steps() -> None:
    """With prompts that come while others decode; a warm-up leaves nothing in the results either."""
    ids = random_ids(sliceable_config(), 3, 200).tolist()
    lengths = (70, 200, 131)
    with open_mesh(8) as mesh:

        def tokens(warm: bool) -> list[list[int]]:
            model = build(mesh, 3, 256)
            step: Callable[[], None] = model.step
            if warm:
                warm_up(model)
                traced = step = TracedStep(mesh, model.step)
                traced.record()
            model.state.set_blocks([[4 * row + block for block in range(4)] for row in range(3)])
            rows, positions, out = [0] * 32, [NO_USER] * 32, []
            for user, length in enumerate(lengths):
                prompt = Prompt(user, ids[user][:length], range(4 * user, 4 * user + 4))
                for one in model.passes([prompt]):
                    rows[user] = model.sample(model.prefill_pass(one))[user]
                positions[user] = length
                model.state.set_rows(rows, positions)
                for _ in range(3):
                    step()
                    out.append(model.state.read_tokens()[: user + 1])
                rows = model.state.read_tokens()
                positions = [position + 3 if position != NO_USER else position for position in positions]
            if warm:
                traced.release()
            return out

        assert tokens(warm=True) == tokens(warm=False)


def test_a_recording_needs_the_step_to_have_run() -> None:
    with ttnn_cpu.specs_only(), open_mesh(1) as mesh:
        model = Mixtral(EmptyWeights(sliceable_config(n_layers=1), mesh), mesh, PERFORMANCE, 4, 128)
        with pytest.raises(RuntimeError, match="run the same step once before capturing it"):
            TracedStep(mesh, model.step).record()
