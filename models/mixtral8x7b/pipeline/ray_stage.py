"""A stage as a Ray actor, on a machine of a Ray cluster that has the resource `t3000` free. Needs the extra `scale`.

ray.init(address="auto")
stages = [RayStage(name, partial(open_stage, options)) for name, options in ...]
"""

import os
from contextlib import ExitStack, suppress
from threading import Event, Lock
from typing import Any

import numpy as np
import ray
import torch
from ray.exceptions import GetTimeoutError, RayError

from models.mixtral8x7b.pipeline.stage_error import (
    ANSWERS_WITHIN_S,
    StageError,
    cannot_be_opened,
    failed,
    hangs,
    has_ended,
)
from models.mixtral8x7b.pipeline.stage_process import Make

RESOURCE = "t3000"
PLACED_WITHIN_S = 120.0  # that a machine has room for it, and has started a process


@ray.remote(num_cpus=1, resources={RESOURCE: 1}, max_restarts=0, concurrency_groups={"life": 1})
class StageActor:
    """In a process of its own. All but `until_end` is done by one thread, in the order in which it is asked."""

    def __init__(self) -> None:
        _send_tensors_as_arrays()
        self._opened, self._has_ended = ExitStack(), Event()

    def pid(self) -> int:
        return os.getpid()

    def open(self, make: Make) -> str | None:
        """Why it cannot be opened; None: it is."""
        try:
            self._stage = self._opened.enter_context(make())
        except Exception as error:
            return cannot_be_opened(error)
        return None

    def call(self, method: str, arguments: tuple[Any, ...]) -> tuple[bool, Any]:
        """Whether it worked; what the method gives, or why it did not."""
        try:
            return True, getattr(self._stage, method)(*arguments)
        except Exception as error:
            return False, failed(error)

    def close(self) -> None:
        self._opened.close()
        self._has_ended.set()

    @ray.method(concurrency_group="life")
    def until_end(self) -> None:
        self._has_ended.wait()


class RayStage:
    """As StageProcess. The constructor returns at once; the first call waits until a machine has been found and the
    stage is there."""

    def __init__(
        self,
        name: str,
        make: Make,
        answers_within_s: float = ANSWERS_WITHIN_S,
        placed_within_s: float = PLACED_WITHIN_S,
    ) -> None:
        self.name = name
        self._make, self._answers_within_s, self._placed_within_s = make, answers_within_s, placed_within_s
        self._lock = Lock()
        self.start()

    def start(self) -> None:
        """Once more, where it has ended. Nothing is left of what it knew."""
        _send_tensors_as_arrays()
        self._actor = StageActor.remote()  # type: ignore[attr-defined]
        self._end = self._actor.until_end.remote()  # there, or an error, when the actor has ended
        self._pid = self._actor.pid.remote()
        self._is_open = False

    @property
    def is_alive(self) -> bool:
        try:
            ended, _ = ray.wait([self._end], timeout=0)
        except RayError:  # the cluster itself has gone
            return False
        return not ended

    @property
    def pid(self) -> int:
        """On its machine."""
        return ray.get(self._pid)

    def call(self, method: str, *arguments: Any) -> Any:
        with self._lock:
            try:
                if not self._is_open:
                    self._open()
                worked, result = ray.get(self._actor.call.remote(method, arguments), timeout=self._answers_within_s)
            except GetTimeoutError as error:
                self._kill()
                raise hangs(self.name, self._answers_within_s) from error
            except RayError as error:
                self._kill()
                raise has_ended(self.name, _how(error)) from error
            if not worked:
                self.close()
                raise StageError(f"{self.name} {result}")
            return result

    def close(self) -> None:
        with suppress(RayError):
            ray.get(self._actor.close.remote(), timeout=5)
        self._kill()

    def _open(self) -> None:
        try:
            ray.get(self._pid, timeout=self._placed_within_s)
        except GetTimeoutError as error:
            self._kill()
            raise StageError(
                f"{self.name} has found no machine within {self._placed_within_s:.0f} s; expected one more in the Ray "
                f"cluster with the resource {RESOURCE}: start it"
            ) from error
        problem = ray.get(self._actor.open.remote(self._make))
        if problem is not None:
            self._kill()
            raise StageError(f"{self.name} {problem}")
        self._is_open = True

    def _kill(self) -> None:
        ray.kill(self._actor)
        ray.wait([self._end], timeout=5)  # till it is known to be dead


def _send_tensors_as_arrays() -> None:
    """In this process, from now on: arrays go through Ray's shared memory as they are, tensors would be pickled."""
    ray.util.register_serializer(torch.Tensor, serializer=_array_of, deserializer=_tensor_of)


def _array_of(tensor: torch.Tensor) -> tuple[np.ndarray, torch.dtype, torch.Size]:
    return tensor.contiguous().flatten().view(torch.uint8).numpy(), tensor.dtype, tensor.shape


def _tensor_of(sent: tuple[np.ndarray, torch.dtype, torch.Size]) -> torch.Tensor:
    array, dtype, shape = sent
    tensor = torch.empty(shape, dtype=dtype)
    tensor.view(-1).view(torch.uint8).numpy()[:] = array  # a copy: what Ray gives cannot be written
    return tensor


def _how(error: RayError) -> str:
    return f"Ray: {str(error).strip().splitlines()[-1].rstrip('.')}"
