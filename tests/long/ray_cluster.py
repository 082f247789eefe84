"""Ray in processes of its own, of the Python that has it: `ray_driver`, told how many replicas there should be, or a
head node alone; and the processes that Ray started."""

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

REPLICA = b"ray::ServeReplica"


class Driver:
    def __init__(self, python: Path, root: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        self._process = _started(python, root, "tests.long.ray_driver", str(port))

    def set_replicas(self, n: int) -> None:
        """Deploys so many anew, and drains those that were there. Returns when the new ones serve."""
        self._ask(n, f"{n}")

    def wait_for_replicas(self, n: int) -> None:
        self._ask(n, f"-{n}")

    def _ask(self, n: int, line_to_it: str) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line_to_it}\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.strip() == f"{n} replicas are there":
                return
        raise AssertionError("the driver has ended")

    def replica_pids(self) -> list[int]:
        return actors_below(self._process.pid, REPLICA)

    def __enter__(self) -> "Driver":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _end(self._process)


@contextmanager
def head_node(python: Path, root: Path, n_t3000: int) -> Iterator[tuple[str, int]]:
    """(the address of a cluster of one machine with so many of the resource t3000, the pid of who started it)."""
    process = _started(python, root, "tests.long.ray_head", str(n_t3000))
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        assert address, "the head node has ended"
        yield address, process.pid
    finally:
        _end(process)


def actors_below(ancestor: int, title: bytes) -> list[int]:
    """The processes whose title begins so, of those that the ancestor and its own have started."""
    parents, actors = {}, []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                if (entry / "cmdline").read_bytes().startswith(title):
                    actors.append(int(entry.name))
            except OSError:
                continue

    def is_below(pid: int) -> bool:
        while pid in parents and pid != ancestor:
            pid = parents[pid]
        return pid == ancestor

    return sorted(pid for pid in actors if is_below(pid))


def _started(python: Path, root: Path, module: str, argument: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MIXTRAL_")}
    environment |= {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    environment["RAY_raylet_start_wait_time_s"] = "180"  # 30, which a busy machine misses
    return subprocess.Popen(
        [str(python), "-m", module, argument],
        cwd=root,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _end(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()


def cpu_seconds(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
