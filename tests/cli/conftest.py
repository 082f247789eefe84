"""Types commands, in this process."""

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from models.mixtral8x7b.cli.__main__ import main

if TYPE_CHECKING:
    from tests.cli.stub import Stub

OF_THE_USER = ("MIXTRAL_CKPT_DIR", "MIXTRAL_TOKENIZER_PATH", "MIXTRAL_CACHE_PATH", "MIXTRAL_TARGET", "MIXTRAL_FABRIC")


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The one line that the command failed with."""
        assert self.code != 0
        assert self.err.count("\n") == 1, self.err
        return self.err.strip()


Run = Callable[..., Done]


@pytest.fixture(scope="package")
def user_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("user cache")


@pytest.fixture
def mixtral(
    user_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Run:
    """Types `mixtral ...` in an empty folder."""
    for variable in OF_THE_USER:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(user_cache))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, stdin: bytes | None = None) -> Done:
        monkeypatch.setattr(sys, "stdin", None if stdin is None else io.TextIOWrapper(io.BytesIO(stdin), "utf-8"))
        monkeypatch.setattr(sys, "argv", ["mixtral", *map(str, arguments)])
        code: object = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code
        printed = capsys.readouterr()
        if isinstance(code, str):
            return Done(1, printed.out, f"{printed.err}{code}\n")
        assert isinstance(code, int)
        return Done(code, printed.out, printed.err)

    return run


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> "Stub":
    """What answers in place of the model."""
    from models.mixtral8x7b.cli import served  # imports ttnn, which pytest_configure must have chosen
    from tests.cli.stub import Stub

    stub = Stub()
    monkeypatch.setattr(served, "Prepared", stub.prepare)
    return stub
