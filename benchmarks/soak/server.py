"""The server under test, a process of its own: what it uses, and what it says of itself."""

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.soak.wire import Address

ROOT = Path(__file__).resolve().parents[2]
STARTS_WITHIN_S, ENDS_WITHIN_S = 300.0, 60.0
LOOKS_EVERY_S = 1.0
# glibc's own first thresholds, kept: else it learns to keep what large tensors had, and memory tells of its habits.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072", "MALLOC_ARENA_MAX": "2"}
FULL_CONTEXTS = 4  # of 4096 tokens, that the KV cache has room for: 256 blocks
_SAMPLE = re.compile(r"^vllm:(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


class Served:
    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process, self._log = process, log
        self.address = Address(self.log().split("serving on ")[1].split()[0])

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def rss(self) -> int:
        """Bytes of memory that it holds."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def n_files(self) -> int:
        """That are open, connections with them."""
        return len(os.listdir(f"/proc/{self._process.pid}/fd"))

    def metrics(self) -> dict[str, float]:
        """By name; of request_success by the name and the reason."""
        _, text = self.address.get("/metrics")
        found: dict[str, float] = {}
        for name, labels, value in _SAMPLE.findall(text.decode()):
            reason = re.search(r'finished_reason="(\w+)"', labels)
            found[f"{name} {reason.group(1)}" if reason else name] = float(value)
        return found

    def end(self) -> int:
        """Its exit code, after SIGTERM."""
        self._process.terminate()
        return self._process.wait(ENDS_WITHIN_S)


@contextmanager
def served() -> Iterator[Served]:
    """`mixtral serve` over the tiny checkpoint on the cpu target, with few KV blocks: what is cached is thrown out, and
    after a minute every block has been used, which is when memory is steady."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MIXTRAL_")} | ALLOCATOR
    command = [sys.executable, "-m", "models.mixtral8x7b.cli", "serve", "--port", "0", "--target", "cpu"]
    command += ["--users", str(FULL_CONTEXTS)]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as file:
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=file, stderr=file)
        try:
            until = time.monotonic() + STARTS_WITHIN_S
            while "serving on" not in log.read_text():
                if process.poll() is not None or time.monotonic() > until:
                    raise SystemExit(f"the server does not start:\n{log.read_text()}")
                time.sleep(0.1)
            yield Served(process, log)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


class Memory:
    """Looks at the server's each second, in a thread of its own."""

    def __init__(self, server: Served) -> None:
        self._server, self._ends = server, threading.Event()
        self.samples: list[int] = []  # bytes
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ends.wait(LOOKS_EVERY_S):
            self.samples.append(self._server.rss())
