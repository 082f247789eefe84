"""The server under Ray Serve: a replica on each machine that has a T3000, found by the resource `t3000` of its node.

    ray start --head --resources '{"t3000": 1}'                            # the head node
    ray start --address HEAD:6379 --resources '{"t3000": 1}'               # every other machine
    serve run serving.ray_app:build max_replicas=8 api_key_file=/etc/mixtral/key      # on the head node, once

Every node listens on port 8000. A request with the header X-Session-Id goes to the replica that had that session's
last one, as long as it is there: it has the chat's beginning in its prefix cache. docs/scale.md has the rest.
"""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from ray import serve
from ray.serve.config import AutoscalingConfig, RequestRouterConfig

from models.mixtral8x7b.cli.model_options import ModelOptions
from models.mixtral8x7b.cli.serve import read_key
from models.mixtral8x7b.engine.model import ROWS
from models.mixtral8x7b.target import T3000_CHIPS, chosen_target, use_target

BY_SESSION = "ray.serve.experimental.consistent_hash_router.ConsistentHashRouter"
BUSY = 0.75  # of the rows: a replica more is wanted where all are busier in the mean
IDLE_S = 900.0  # before one is given up, because another takes minutes to load
HEALTH_EVERY_S, HEALTH_WITHIN_S = 5.0, 30.0


class Options(BaseModel):
    """As `mixtral serve` has them, and between how many replicas there may be. checkpoint and key are files of each
    machine."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    min_replicas: int = Field(1, ge=1)
    max_replicas: int = Field(1, ge=1)
    checkpoint: Path | None = None
    precision: str = "performance"
    context: int | None = None
    users: int = Field(ROWS, ge=1, le=ROWS)
    queue: int = Field(1024, ge=1)
    pass_tokens: int = 2048
    prefix_cache: bool = True
    api_key_file: Path | None = None
    model_name: str = "mixtral"
    drain: float = Field(30.0, ge=0)
    target: str | None = None
    chips: int = T3000_CHIPS


@serve.deployment(name="mixtral")
@serve.ingress()
class Replica:
    """One model. Ray ends the process of a replica that is not healthy, or does not answer, and starts another."""

    def __init__(self, options: Options) -> None:
        use_target(chosen_target(options.target), options.chips)
        from models.mixtral8x7b.cli.served import Prepared
        from models.mixtral8x7b.engine.engine import Options as EngineOptions
        from models.mixtral8x7b.server.service import Service

        model = Prepared(
            ModelOptions(
                options.checkpoint, options.precision, options.target, options.chips, None, False, options.context
            )
        )
        how = EngineOptions(options.queue, options.pass_tokens, options.prefix_cache)
        self._stack = ExitStack()
        served = self._stack.enter_context(model.serving([model.max_context] * options.users, how))
        key = read_key(None, options.api_key_file)
        self._service = Service(served.engine, served.tokenizer, served.max_context, options.model_name, key)

    def __serve_build_asgi_app__(self) -> Any:
        from models.mixtral8x7b.server.app import create_app

        return create_app(self._service)

    def check_health(self) -> None:
        """Raises RuntimeError when the engine has failed."""
        if self._service.engine.failure is not None:
            raise RuntimeError(self._service.engine.failure)

    async def __del__(self) -> None:
        self._stack.close()


def build(options: Options) -> serve.Application:
    """For `serve run`."""
    deployment = Replica.options(  # type: ignore[attr-defined]
        ray_actor_options={"num_cpus": 1, "resources": {"t3000": 1}},
        max_ongoing_requests=ROWS + options.queue,  # beyond that the engine refuses, as OpenAI does
        graceful_shutdown_timeout_s=options.drain,
        health_check_period_s=HEALTH_EVERY_S,
        health_check_timeout_s=HEALTH_WITHIN_S,
        request_router_config=RequestRouterConfig(request_router_class=BY_SESSION),
        autoscaling_config=AutoscalingConfig(
            min_replicas=options.min_replicas,
            max_replicas=options.max_replicas,
            target_ongoing_requests=BUSY * ROWS,
            downscale_delay_s=IDLE_S,
        ),
    )
    return deployment.bind(options)
