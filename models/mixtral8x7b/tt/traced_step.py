from collections.abc import Callable

import ttnn

from models.mixtral8x7b.tt.mesh import Mesh


class TracedStep:
    """A step that is recorded once and then replayed, without the host's work for each operation.

    The first call runs it plainly (programs are built), the second records and replays, later ones replay, until
    `release`; the next call then records anew. It reads and writes the same tensors every time, and its temporary
    tensors keep their addresses: between the recording and `release` no program may be built (`warm_up` builds all),
    and what is allocated must be freed before the next call.
    """

    def __init__(self, mesh: Mesh, step: Callable[[], None]) -> None:
        self._device = mesh.device
        self._step = step
        self._has_run = False
        self._trace: ttnn.MeshTraceId | None = None

    def __call__(self) -> None:
        if not self._has_run:
            self._step()
            self._has_run = True
            return
        if self._trace is None:
            self._trace = self._recorded()
        ttnn.execute_trace(self._device, self._trace, cq_id=0, blocking=False)

    def record(self) -> None:
        """Records without running. The step must have run before; several steps are recorded one right after the
        other, when all that lasts is allocated."""
        self._trace = self._recorded()
        self._has_run = True

    def release(self) -> None:
        """Forgets the recording. What was not warmed up may be built only then."""
        if self._trace is not None:
            ttnn.release_trace(self._device, self._trace)
            self._trace = None

    def _recorded(self) -> ttnn.MeshTraceId:
        trace = ttnn.begin_trace_capture(self._device, cq_id=0)
        self._step()
        ttnn.end_trace_capture(self._device, trace, cq_id=0)
        return trace
