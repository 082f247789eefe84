"""Starts `ray_driver`, tells it how many replicas there should be, and finds their processes."""

import os
import socket
import subprocess
from pathlib import Path
from types import TracebackType

REPLICA = b"ray::ServeReplica"


class Driver:
    def __init__(self, python: Path, root: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MIXTRAL_")}
        environment |= {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
        environment["RAY_raylet_start_wait_time_s"] = "180"  # 30, which a busy machine misses
        self._process = subprocess.Popen(
            [str(python), "-m", "tests.long.ray_driver", str(port)],
            cwd=root,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

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
        """Of the processes below the driver's."""
        parents, replicas = {}, []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                    if (entry / "cmdline").read_bytes().startswith(REPLICA):
                        replicas.append(int(entry.name))
                except OSError:
                    continue
        return sorted(pid for pid in replicas if self._is_below(pid, parents))

    def _is_below(self, pid: int, parents: dict[int, int]) -> bool:
        while pid in parents and pid != self._process.pid:
            pid = parents[pid]
        return pid == self._process.pid

    def __enter__(self) -> "Driver":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()


def cpu_seconds(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
