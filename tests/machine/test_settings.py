"""Where files are kept on machines without a home, and paths that mean nothing."""

import os
import pwd
from pathlib import Path

import pytest

from models.mixtral8x7b.settings import Settings, SettingsError

PATHS = (
    "MIXTRAL_CKPT_DIR",
    "MIXTRAL_TOKENIZER_PATH",
    "MIXTRAL_CACHE_PATH",
    "MIXTRAL_SFPI",
    "MIXTRAL_MOCK_SFPI",
    "MIXTRAL_SIMULATOR",
    "XDG_CACHE_HOME",
)


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in PATHS:
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user id without a name, as in `docker run -u 12345`."""

    def unknown(user: object) -> None:
        raise KeyError(user)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(pwd, "getpwnam", unknown)


@pytest.mark.parametrize("home", [None, "", "~", "~somebody"])
def test_without_a_home_a_cache_is_asked_for_and_nothing_is_called_tilde(
    home: str | None, nobody: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if home is None:
        monkeypatch.delenv("HOME", raising=False)
    else:
        monkeypatch.setenv("HOME", home)
    settings = Settings.from_environment()  # what needs no cache starts
    with pytest.raises(SettingsError, match="there is no home to keep files in .* set XDG_CACHE_HOME to a folder"):
        _ = settings.user_cache
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert Settings.from_environment().user_cache == tmp_path / "mixtral8x7b-ttnn"
    assert list(tmp_path.iterdir()) == []


def test_the_home_of_the_user_list_serves_where_no_variable_names_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    assert Settings.from_environment().user_cache == home / ".cache" / "mixtral8x7b-ttnn"


@pytest.mark.parametrize("variable", PATHS)
def test_a_path_in_nobodys_home_is_refused_by_its_variable(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "~no-such-user/x")
    with pytest.raises(SettingsError, match=f"{variable} is ~no-such-user/x, which begins with nobody's home; exp"):
        Settings.from_environment()


@pytest.mark.parametrize("variable", PATHS)
def test_a_path_that_is_not_utf8_is_refused_by_its_variable(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, os.fsdecode(b"/a/\xff"))
    with pytest.raises(SettingsError, match=f"{variable} is /a/.*, which is not UTF-8; expected a path that is"):
        Settings.from_environment()


def test_tilde_is_the_home_in_every_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    for variable in PATHS:
        monkeypatch.setenv(variable, "~/x")
    settings = Settings.from_environment()
    found = {settings.checkpoint, settings.tokenizer, settings.weight_cache, settings.sfpi, settings.simulator}
    assert found == {Path("/somewhere/x")}
    assert settings.user_cache == Path("/somewhere/x/mixtral8x7b-ttnn")
