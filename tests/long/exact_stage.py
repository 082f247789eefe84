"""A stage without rounding, for a process of its own: nothing here imports ttnn before the target is chosen."""

from collections.abc import Iterator
from contextlib import contextmanager

from models.mixtral8x7b.target import use_target


@contextmanager
def exact_stage(layers: range) -> Iterator[object]:
    use_target("cpu")
    from models.mixtral8x7b.tt.precision import PERFORMANCE
    from models.mixtral8x7b.tt.stage import Stage
    from tests.tt.cases import exact_mesh, reference, weights_of
    from tests.tt.test_stage import CHIPS, CONTEXT, N_BLOCKS, config

    with exact_mesh(CHIPS) as mesh:
        yield Stage(weights_of(reference(config()), mesh), mesh, PERFORMANCE, layers, 2, N_BLOCKS, CONTEXT)
