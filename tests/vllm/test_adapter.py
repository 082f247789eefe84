"""The model behind vllm-tt-plugin's calls: answers are the engine's, whatever rows do meanwhile.

.venv/bin/python -m pytest tests/vllm
"""

from collections.abc import Iterator
from functools import cache
from types import SimpleNamespace

import pytest
import torch

from models.mixtral8x7b.arguments import RequestError
from models.mixtral8x7b.checkpoint.tiny import tiny_checkpoint
from models.mixtral8x7b.config import ConfigError
from models.mixtral8x7b.engine.model import Row
from models.mixtral8x7b.engine.request import Request
from models.mixtral8x7b.packing import pack
from models.mixtral8x7b.paging import Prompt
from models.mixtral8x7b.sampling import SamplingParams
from models.mixtral8x7b.tt.engine_model import EngineModel
from models.mixtral8x7b.tt.mesh import Mesh, open_mesh
from models.mixtral8x7b.vllm.adapter import VllmMixtral
from models.mixtral8x7b.vllm.building import SPARE_BLOCKS
from models.mixtral8x7b.vllm.contracts import CommandedMixtral, ResetMixtral
from tests.engine.test_on_the_model import CONFIG, answers, build, prompt
from tests.tt.cases import exact_mesh
from tests.vllm.plugin import HARM, MAX_BATCH, Asks, Plugin, asked

KINDS = (CommandedMixtral, ResetMixtral)
LENGTHS, N_NEW = (1, 63, 130, 300, 64), (9, 3, 70, 5, 6)


@pytest.fixture
def mesh() -> Iterator[Mesh]:
    with exact_mesh(1) as mesh:
        yield mesh


@cache
def of_the_engine() -> list[list[int]]:
    """The greedy answers to LENGTHS, of the engine over the same model."""
    with exact_mesh(1) as mesh:
        requests = [Request(prompt(length, length), n_new) for length, n_new in zip(LENGTHS, N_NEW, strict=True)]
        return answers(EngineModel(build(mesh), trace=True, warm=False), requests)


def requests() -> list[Asks]:
    return [Asks(prompt(length, length), n_new) for length, n_new in zip(LENGTHS, N_NEW, strict=True)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("on_device", "trace", "is_async"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_answers_are_the_engines(
    kind: type[VllmMixtral], on_device: bool, trace: bool, is_async: bool, mesh: Mesh
) -> None:
    """Prompts come while others decode, rows close up where one has ended, and a row grows into its next block."""
    found = requests()
    plugin = Plugin(kind, mesh, on_device, trace, is_async)
    plugin.serve(found[:2], found[2:4], found[4:])
    assert [one.answer for one in found] == of_the_engine()


@pytest.mark.parametrize("kind", KINDS)
def test_on_eight_chips(kind: type[VllmMixtral]) -> None:
    found = requests()[:2]
    with exact_mesh(8) as mesh:
        Plugin(kind, mesh).serve(found)
    assert [one.answer for one in found] == of_the_engine()[:2]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hit", [64, 128, 192, 256])
def test_a_prefix_hit_changes_neither_the_answer_nor_the_blocks_that_it_shares(
    kind: type[VllmMixtral], hit: int, mesh: Mesh
) -> None:
    plugin = Plugin(kind, mesh)
    first = Asks(prompt(300, 300), 5)
    plugin.serve([first])
    pools = [*plugin.cache.keys, *plugin.cache.values]
    shared = first.blocks[: hit // 64]
    before = [mesh.read_replicated(pool)[shared] for pool in pools]
    again = Asks(first.prompt, 5, hit=hit, blocks=list(shared))
    other = Asks(prompt(63, 63), 3)
    plugin.serve([other, again])
    assert [first.answer, again.answer, other.answer] == [of_the_engine()[3]] * 2 + [of_the_engine()[1]]
    assert all(torch.equal(a, mesh.read_replicated(pool)[shared]) for a, pool in zip(before, pools, strict=True))


def drawn_by_the_engines_model(mesh: Mesh, one: Asks) -> list[int]:
    """Alone, where a token's random number is of its position."""
    model = EngineModel(build(mesh), trace=False, warm=False)
    sampling, blocks = SamplingParams(one.temperature, one.top_k, seed=one.seed or 0), list(range(8))
    ids = list(one.prompt)

    def row(position: int | None) -> list[Row | None]:
        own = Row(sampling, len(ids), ids[-1], position, blocks, False, False)
        return [None] * 7 + [own] + [None] * 24

    model.set_rows(row(None))
    (of,) = pack([Prompt(7, ids, blocks)])
    ids.append(model.prefill(of, {})[7])
    model.set_rows(row(len(ids) - 1))
    for _ in range(one.n_new - 1):
        model.step()
        ids.append(model.read_tokens()[7])
    return ids[len(one.prompt) :]


@pytest.mark.parametrize("kind", KINDS)
def test_seeded_rows_repeat_beside_others_and_after_preemption(kind: type[VllmMixtral], mesh: Mesh) -> None:
    def seeded() -> Asks:
        return Asks(prompt(70, 1), 12, temperature=1.0, top_k=20, seed=12345)

    expected = drawn_by_the_engines_model(mesh, seeded())
    alone, beside, again = seeded(), seeded(), seeded()
    Plugin(kind, mesh).serve([alone])
    plugin = Plugin(kind, mesh, is_async=True)
    unseeded = Asks(prompt(9, 2), 4, temperature=1.0, top_k=20)
    plugin.serve([unseeded, Asks(prompt(5, 3), 2, temperature=0.7, seed=-1)], [beside])
    plugin.prefill([again])
    for _ in range(4):
        plugin.step()
    plugin.preempt(again)
    plugin.serve([Asks(prompt(3, 4), 3)], [again])
    assert alone.answer == beside.answer == again.answer == expected
    assert len(unseeded.answer) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_the_host_draws_what_the_chips_do_not(kind: type[VllmMixtral], mesh: Mesh) -> None:
    """Log-probabilities of the chosen tokens, a top_k above 32, and for older plugins penalties; others stay."""
    plugin = Plugin(kind, mesh)
    told, plain = Asks(prompt(63, 63), 3, logprobs=True), Asks(prompt(300, 300), 5)
    wide = [Asks(prompt(20, 5), 6, temperature=1.0, top_k=200, seed=7) for _ in range(2)]
    never_twice = Asks(prompt(1, 1), 9, presence_penalty=2.0)
    plugin.serve([told, plain, wide[0]], [never_twice], [wide[1]])
    assert [told.answer, plain.answer] == [of_the_engine()[1], of_the_engine()[3]]
    assert wide[0].answer == wide[1].answer
    assert never_twice.answer[0] == of_the_engine()[0][0]
    assert never_twice.answer != of_the_engine()[0] or len(set(never_twice.answer)) == 9
    logits = Plugin(kind, mesh, on_device=False)
    text = Asks(prompt(63, 63), 1)
    logits.prefill([text])
    (first, *_), (token, *_) = told.told, told.answer
    out = logits.model.prefill_forward(
        torch.tensor([told.prompt], dtype=torch.int32), torch.zeros(1, 8, dtype=torch.int32), None, False, [63], [0]
    )
    assert first == pytest.approx(float(out[0, 0].log_softmax(-1)[token]), abs=1e-5)


def test_rows_move_without_a_reload(mesh: Mesh) -> None:
    """Contract 1: a permutation is of what the chips hold, and is made once."""
    plugin = Plugin(CommandedMixtral, mesh)
    found = requests()[0:4:3]
    plugin.prefill(found)
    plugin.step()
    table = plugin._table(found[::-1], MAX_BATCH)
    out = plugin.model.decode_forward(
        tokens=torch.full((MAX_BATCH, 1), HARM),
        page_table=table,
        kv_cache=plugin.cache,
        start_pos=torch.full((MAX_BATCH,), HARM),
        enable_trace=True,
        read_from_device=True,
        sampling_params=asked(found[::-1], MAX_BATCH),
        reload_inputs=False,
        slot_remap=[1, 0, 2, 3, 4],
    )
    assert out[:2].tolist() == [of_the_engine()[number][2] for number in (3, 0)]


def test_commands_that_cannot_be_followed_are_refused(mesh: Mesh) -> None:
    plugin = Plugin(CommandedMixtral, mesh)
    (one,) = found = requests()[:1]
    plugin.prefill(found)
    call = {
        "tokens": torch.zeros(MAX_BATCH, 1, dtype=torch.int32),
        "page_table": plugin._table(found, MAX_BATCH),
        "kv_cache": plugin.cache,
        "start_pos": torch.tensor([1, -1, -1, -1, -1]),
        "enable_trace": False,
        "read_from_device": True,
    }
    with pytest.raises(RequestError, match="reload_inputs is false"):
        plugin.model.decode_forward(**call, sampling_params=asked(found, MAX_BATCH), reload_inputs=False)
    with pytest.raises(RequestError, match="reload_inputs is false"):
        plugin.model.decode_forward(**call, reload_inputs=False)
    with pytest.raises(RequestError, match="slot_remap is"):
        plugin.model.decode_forward(**call, slot_remap=[0, 0, 1, 2, 3])
    with pytest.raises(TypeError, match="reset_batch"):
        plugin.model.decode_forward(**call, reset_batch=True)
    assert len(one.answer) == 1


def test_warm_ups_build_all_and_the_recording_lives_on(mesh: Mesh) -> None:
    """In the plugin's order: all programs without recording, then recordings."""
    plugin = Plugin(CommandedMixtral, mesh, is_async=True, n_blocks=20)
    for enable_trace in (False, True):
        plugin.model.warmup_model_prefill(plugin.cache, enable_trace, True)
        plugin.model.warmup_model_decode(plugin.cache, enable_trace, MAX_BATCH, 8, True)
    programs = mesh.device.num_program_cache_entries()
    found = requests()
    plugin.serve(found[:2], found[2:])
    assert [one.answer for one in found] == of_the_engine()
    assert mesh.device.num_program_cache_entries() == programs
    assert len(mesh.device.traces) == 1
    mesh.device.traces.clear()


# ---------------------------------------------------------------- the plugin's start


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_checkpoint("instruct", tmp_path_factory.mktemp("tiny")))


TINY = {"vocab_size": 1024, "hidden_size": 256, "num_hidden_layers": 3}


def test_it_is_made_as_the_plugin_makes_models(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIXTRAL_CKPT_DIR", tiny)
    tokens = CommandedMixtral.get_max_tokens_all_users(
        model_name="any", num_devices=8, tt_data_parallel=1, max_model_len=1000, max_num_seqs=4
    )
    assert tokens == 4 * 1024  # all that 4 users can fill
    with open_mesh(8) as mesh:
        model = CommandedMixtral.initialize_vllm_model(
            SimpleNamespace(**TINY), mesh.device, 4, max_seq_len=1000, tt_data_parallel=1, optimizations="accuracy"
        )
        cache = model.allocate_kv_cache((tokens // 64 + 4, 1, 64, 32), torch.bfloat16, 3)
        assert cache.n_blocks == 64 + 4 + SPARE_BLOCKS
        logits = model.prefill_forward(
            torch.tensor([[1, 5, 9, 0], [1, 7, 8, 4]]), torch.tensor([[1], [2]]), cache, True, [3, 4], torch.zeros(2)
        )
        assert logits.shape == (2, 1, 1024)
        assert logits.isfinite().all()


def test_what_does_not_fit_is_refused(tiny: str, mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIXTRAL_CKPT_DIR", tiny)
    start = CommandedMixtral.initialize_vllm_model
    with pytest.raises(ConfigError, match="hidden_size 4096, the checkpoint 256"):
        start(SimpleNamespace(**TINY | {"hidden_size": 4096}), mesh.device, 4, 512)
    with pytest.raises(ConfigError, match="start vLLM once for each machine"):
        start(SimpleNamespace(**TINY), mesh.device, 4, 512, tt_data_parallel=2)
    with pytest.raises(ConfigError, match="max_num_seqs is 33"):
        start(SimpleNamespace(**TINY), mesh.device, 33, 512)
    with pytest.raises(ConfigError, match="expected one row"):
        start(SimpleNamespace(**TINY), SimpleNamespace(shape=(2, 4)), 4, 512)  # type: ignore[arg-type]
    model = start(SimpleNamespace(**TINY), mesh.device, 4, 512)
    with pytest.raises(ConfigError, match="set --block-size 64"):
        model.allocate_kv_cache((8, 8, 32, 32), torch.bfloat16, 3)
    with pytest.raises(ConfigError, match="start vLLM with the same model"):
        model.allocate_kv_cache((8, 8, 64, 32), torch.bfloat16, 32)
    with pytest.raises(ConfigError, match="has to be made by initialize_vllm_model"):
        CommandedMixtral()
    with pytest.raises(ConfigError, match="allocate_kv_cache has to come first"):
        CommandedMixtral(lambda n_blocks: build(mesh, n_blocks), CONFIG, mesh)._model  # noqa: B018
