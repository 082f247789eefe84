"""Stages, one after the other, are the whole model: within 1e-4 with rounding off, bit for bit with rounding on."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from models.mixtral8x7b.config import ConfigError, MixtralConfig
from models.mixtral8x7b.engine.model import ROWS, Model, Row, Sizes
from models.mixtral8x7b.packing import pack
from models.mixtral8x7b.paging import Prompt
from models.mixtral8x7b.pipeline.group import Group
from models.mixtral8x7b.sampling import GREEDY, SamplingParams
from models.mixtral8x7b.tt.engine_model import EngineModel
from models.mixtral8x7b.tt.mesh import Mesh, open_mesh
from models.mixtral8x7b.tt.model import Mixtral
from models.mixtral8x7b.tt.precision import PERFORMANCE
from models.mixtral8x7b.tt.stage import Stage
from tests.tt.cases import assert_equal, exact_mesh, random_ids, reference, sliceable_config, weights_of

LAYERS, CHIPS, CONTEXT, N_BLOCKS = 4, 2, 512, 12
SAMPLINGS = {0: GREEDY, 3: SamplingParams(temperature=1.0, top_k=8, seed=7)}


class Here:
    """A stage in this process."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def call(self, method: str, *arguments: Any) -> Any:
        return getattr(self._stage, method)(*arguments)


def config() -> MixtralConfig:
    return sliceable_config(n_layers=LAYERS)


def groups(mesh: Mesh, cuts: Sequence[int], trace: bool = False) -> list[Group]:
    """Two of them, over stages that end before the layers `cuts`; all on one mesh, as only what they hand on counts."""
    weights = weights_of(reference(config()), mesh)
    stages = [
        Here(Stage(weights, mesh, PERFORMANCE, range(first, end), 2, N_BLOCKS, CONTEXT, trace=trace))
        for first, end in zip((0, *cuts), (*cuts, LAYERS), strict=True)
    ]
    sizes = Sizes(N_BLOCKS, CONTEXT, config().vocab_size, 256)
    return [Group(number, stages, sizes) for number in range(2)]


def whole(mesh: Mesh) -> EngineModel:
    model = Mixtral(weights_of(reference(config()), mesh), mesh, PERFORMANCE, N_BLOCKS, CONTEXT, 256)
    return EngineModel(model, trace=False, warm=False)


def prompts(seed: int) -> list[Prompt]:
    """The first is longer than a pass and goes on from the cache."""
    ids = random_ids(config(), 300, seed=seed).tolist()
    return [Prompt(0, ids, [5, 2, 7, 0, 11]), Prompt(3, ids[60:137], [1, 3, 6])]


def rows(of: list[Prompt], reads_logits: bool, drawn: dict[int, int] | None = None) -> list[Row | None]:
    """What the prompts' rows do: before they have drawn, and then."""
    result: list[Row | None] = [None] * ROWS
    for prompt in of:
        token, position = (0, None) if drawn is None else (drawn[prompt.row], len(prompt.ids))
        result[prompt.row] = Row(
            SAMPLINGS[prompt.row], int(drawn is not None), token, position, prompt.blocks, reads_logits, False
        )
    return result


def answers(
    models: Sequence[Model], first_seed: int = 0, reads_logits: bool = True
) -> list[tuple[list[list[int]], list[torch.Tensor]]]:
    """Of each model the ids and logits of its prompts' rows, which are others for each; the models take turns."""
    given = [prompts(first_seed + n) for n in range(len(models))]
    ids: list[list[list[int]]] = [[] for _ in models]
    logits: list[list[torch.Tensor]] = [[] for _ in models]
    drawn: list[dict[int, int]] = [{} for _ in models]
    for n, model in enumerate(models):
        model.set_rows(rows(given[n], reads_logits))
        for one in pack(given[n], 256):
            tokens = model.prefill(one, {3: lambda start, of_prompt, n=n: logits[n].append(of_prompt.clone())})
            drawn[n] |= {piece.prompt.row: tokens[piece.prompt.row] for piece in one.pieces if piece.ends_prompt}
        model.set_rows(rows(given[n], reads_logits, drawn[n]))
    for _ in range(3):
        for n, model in enumerate(models):
            model.step()
            tokens = model.read_tokens()
            ids[n].append([tokens[row] for row in SAMPLINGS])
            if reads_logits:
                logits[n].append(model.read_logits()[list(SAMPLINGS)].clone())
            model.write_tokens({3: tokens[3]})
    return list(zip(ids, logits, strict=True))


@pytest.mark.parametrize("cuts", [(2,), (1, 2, 3), (3,)], ids=str)
def test_stages_equal_the_whole(cuts: tuple[int, ...]) -> None:
    with exact_mesh(CHIPS) as mesh:
        for seed, (ids, logits) in enumerate(answers(groups(mesh, cuts))):
            ((whole_ids, whole_logits),) = answers([whole(mesh)], seed)
            assert ids == whole_ids
            for ours, theirs in zip(logits, whole_logits, strict=True):
                assert_equal(ours, theirs)


def test_no_bit_differs_with_rounding() -> None:
    """The residual is bf16 where it is handed on, as it is between layers."""
    with open_mesh(CHIPS) as mesh:
        for seed, (ids, logits) in enumerate(answers(groups(mesh, (2,)))):
            ((whole_ids, whole_logits),) = answers([whole(mesh)], seed)
            assert ids == whole_ids
            assert all(torch.equal(ours, theirs) for ours, theirs in zip(logits, whole_logits, strict=True))


def test_recorded_steps_draw_the_same() -> None:
    """Where nobody reads logits a step is recorded, one for each group."""
    with open_mesh(CHIPS) as mesh:
        plain, recorded = (answers(groups(mesh, (1,), trace), reads_logits=False) for trace in (False, True))
        assert [ids for ids, _ in plain] == [ids for ids, _ in recorded]
        assert len(mesh.device.traces) == 4  # two stages, two groups


@pytest.mark.parametrize("layers", [range(0), range(3, 5)], ids=str)
def test_layers_that_there_are_not(layers: range) -> None:
    with open_mesh(CHIPS) as mesh, pytest.raises(ConfigError, match=r"a stage has layers .*; expected some of 0 to 3"):
        Stage(weights_of(reference(config()), mesh), mesh, PERFORMANCE, layers, 1, N_BLOCKS, CONTEXT)
