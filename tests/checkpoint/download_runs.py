"""Runs scripts/download_weights.py as a process of its own, quickly: forked off one that has torch loaded already."""

import json
import os
import resource
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "download_weights.py"


@dataclass
class Done:
    code: int
    out: str
    err: str


class Runs:
    """Runs the script in a process of its own that has torch loaded already: 0.4 s for a run instead of 4."""

    def __enter__(self) -> "Runs":
        command = [
            sys.executable,
            "-W",
            "ignore",
            "-c",
            "from tests.checkpoint.download_runs import fork_runs; fork_runs()",
        ]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
        self.process = subprocess.Popen(command, cwd=ROOT, **pipes)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()

    def start(self, *arguments: object, cwd: Path, env: dict[str, str], file_limit: int = -1) -> int:
        """The run's process id. `file_limit`: bytes that a file may have, in place of a full disk."""
        self.files = Path(tempfile.mkdtemp(dir=cwd, prefix=".run"))
        job = {"arguments": [*map(str, arguments)], "cwd": str(cwd), "env": env, "file_limit": file_limit}
        self._say(json.dumps(job | {"files": str(self.files)}))
        return int(self._hear())

    def wait(self) -> Done:
        code = int(self._hear())
        return Done(code, (self.files / "out").read_text(), (self.files / "err").read_text())

    def _say(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(line + "\n")

    def _hear(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline()


class Script:
    """Runs the script in the test's folder with an environment that holds nothing of the user's."""

    def __init__(self, runs: Runs, url: str, folder: Path) -> None:
        self.runs, self.folder = runs, folder
        self.env = {"HF_ENDPOINT": url, "HF_HOME": str(folder / "home"), "HOME": str(folder / "home")}

    def start(self, *arguments: object, file_limit: int = -1, **env: str) -> int:
        return self.runs.start(*arguments, cwd=self.folder, env=self.env | env, file_limit=file_limit)

    def __call__(self, *arguments: object, file_limit: int = -1, **env: str) -> Done:
        self.start(*arguments, file_limit=file_limit, **env)
        return self.runs.wait()


def fork_runs() -> None:
    """The process behind Runs: a line of JSON on stdin is a run; prints its process id, then its exit code.

    huggingface_hub is not among what is loaded, as it reads the environment when it is.
    """
    import filelock  # noqa: F401
    import httpx2  # noqa: F401
    import tqdm.auto  # noqa: F401
    import yaml  # noqa: F401

    import models.mixtral8x7b.checkpoint.repack  # noqa: F401

    for line in sys.stdin:
        process = os.fork()
        if process == 0:
            _become_the_script(json.loads(line))
        print(process, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)


def _become_the_script(job: dict[str, Any]) -> NoReturn:
    for stream, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(Path(job["files"]) / name, os.O_WRONLY | os.O_CREAT), stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(job["cwd"])
    os.environ.clear()
    os.environ.update(job["env"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if job["file_limit"] >= 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["file_limit"], job["file_limit"]))
    sys.argv = [str(SCRIPT), *job["arguments"]]
    code: str | int | None = 1
    try:
        runpy.run_path(str(SCRIPT), run_name="__main__")
        code = 0
    except SystemExit as error:
        code = error.code
    except BaseException:
        traceback.print_exc()
    if isinstance(code, str):
        print(code, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1 if isinstance(code, str) else code or 0)  # the interpreter's own end, with torch in it, takes seconds
