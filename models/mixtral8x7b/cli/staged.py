"""A model cut into stages, behind the engines that share them."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ETIMEDOUT
from functools import partial
from re import fullmatch

from models.mixtral8x7b.cli.app import UsageMistake
from models.mixtral8x7b.cli.served import Prepared, Served
from models.mixtral8x7b.engine.engine import Options
from models.mixtral8x7b.pipeline.engine import OwnedStage, Pipelined
from models.mixtral8x7b.pipeline.opened import StageOptions, open_stage
from models.mixtral8x7b.pipeline.stage_process import StageProcess

JOINED_WITHIN_S = 60


@contextmanager
def serving_in_stages(model: Prepared, n_stages: int, users: int, how: Options, ray: str | None) -> Iterator[Served]:
    """Each stage in a process of this machine or, where `ray` is the address of a Ray cluster, on one of its machines;
    as many groups of 32 rows as stages, with room for `users` full contexts each. Raises StageError."""
    of_stages = model.in_stages(n_stages, users)
    if ray is not None:
        _join(ray, n_stages)
    stages = [_stage(_name(number, options), options, ray) for number, options in enumerate(of_stages)]
    with Pipelined(stages, n_stages, how) as engine:
        yield Served(engine, model.tokenizer, model.max_context, weight_bytes=None)


def _stage(name: str, options: StageOptions, ray: str | None) -> OwnedStage:
    make = partial(open_stage, options)
    if ray is None:
        return StageProcess(name, make)
    from models.mixtral8x7b.pipeline.ray_stage import RayStage

    return RayStage(name, make)


def _join(address: str, n_stages: int) -> None:
    try:
        import ray
    except ImportError as error:
        raise UsageMistake(
            "--ray needs Ray, which is not installed: install the extra `scale` (docs/scale.md)"
        ) from error
    try:
        _check_answers(address)
        ray.init(address, log_to_driver=False)
    except (OSError, ValueError, RuntimeError) as error:
        why = (
            error.strerror if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0].rstrip(".")
        )
        raise UsageMistake(
            f"no Ray cluster is found at --ray {address} ({why}); start one: docs/pipeline.md"
        ) from error
    from models.mixtral8x7b.pipeline.ray_stage import RESOURCE

    n_free = int(ray.available_resources().get(RESOURCE, 0))
    if n_free < n_stages:
        raise UsageMistake(
            f"--stages is {n_stages} and the Ray cluster has {n_free} machines with the resource {RESOURCE} free; "
            "expected one for each stage: start Ray on more, docs/pipeline.md"
        )


def _check_answers(address: str) -> None:
    """Raises OSError. Ray itself goes on trying for a quarter of an hour, also where `auto` is a cluster that has gone,
    whose address it still has in a file."""
    if fullmatch(r"[\w.-]+:\d+", address):
        host, port = address.split(":")
        socket.create_connection((host, int(port)), timeout=10).close()
        return
    joins = [sys.executable, "-c", "import sys, ray; ray.init(sys.argv[1], log_to_driver=False)", address]
    try:
        subprocess.run(joins, capture_output=True, timeout=JOINED_WITHIN_S, check=False)  # what fails, fails again
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(ETIMEDOUT, f"it has not answered within {JOINED_WITHIN_S} s") from error


def _name(number: int, options: StageOptions) -> str:
    last = options.end_layer - 1
    layers = f"layer {last}" if options.first_layer == last else f"layers {options.first_layer} to {last}"
    return f"stage {number + 1} of {options.n_groups} ({layers})"
