"""A layer frees what it makes and what it is given: at full size nothing may stay for the next one to find in L1."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

import ttnn_cpu
from models.mixtral8x7b.config import MixtralConfig, MoeConfig, Routing
from models.mixtral8x7b.paging import Prompt
from models.mixtral8x7b.tt.mesh import open_mesh
from models.mixtral8x7b.tt.model import Mixtral
from models.mixtral8x7b.tt.precision import PRESETS
from models.mixtral8x7b.tt.weights import EmptyWeights
from tests.tt.cases import sliceable_config

CONFIGS = {
    "as Mixtral": sliceable_config(),
    "other routing, padded logits": sliceable_config(moe=MoeConfig(8, 2, Routing.NONE), vocab_size=320),
    "logits in pieces": sliceable_config(vocab_size=57000),
}
PROGRAMS: dict[str, Callable[[Mixtral], object]] = {
    "decode": lambda model: model.decode_logits(),
    "step": lambda model: model.step(),
    "prefill": lambda model: model.prefill([Prompt(0, [1] * 400, range(7))]),
    "prefill of two": lambda model: model.prefill([Prompt(row, [1] * 60, [row]) for row in range(2)]),
    "prefill that goes on": lambda model: model.prefill([Prompt(0, [1] * 200, range(4), start=128)]),
    "prefill of own rows": lambda model: model.prefill([Prompt(0, [1] * 2000, range(32))]),
}


@contextmanager
def tensors_made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ttnn_cpu.Tensor]]:
    """Those on the chips."""
    made: list[ttnn_cpu.Tensor] = []
    original = ttnn_cpu.Tensor.__init__

    def init(self: ttnn_cpu.Tensor, *arguments: object, **named: object) -> None:
        original(self, *arguments, **named)  # type: ignore[arg-type]
        if self.device() is not None:
            made.append(self)

    with monkeypatch.context() as patched:
        patched.setattr(ttnn_cpu.Tensor, "__init__", init)
        yield made


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("n_devices", [1, 8])
def test_nothing_is_left_but_the_result(
    n_devices: int, preset: str, config: MixtralConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ttnn_cpu.specs_only(), open_mesh(n_devices) as mesh:
        model = Mixtral(EmptyWeights(config, mesh), mesh, PRESETS[preset], 32, 2048)
        for name, run in PROGRAMS.items():
            with tensors_made(monkeypatch) as made:
                result = run(model)
            kept = [result.storage] if isinstance(result, ttnn_cpu.Tensor) else []
            assert len(made) > 50
            assert [tensor for tensor in made if tensor.is_allocated() and tensor.storage not in kept] == [], name
