"""Every message for a user that is made while a test runs is looked at: see `sentences.py`."""

from collections.abc import Iterator

import pytest

from models.mixtral8x7b.mistake import Mistake
from tests.sentences import faults
from virtual_t3000.private_folder import VirtualChipsError
from virtual_t3000.sfpi_wheel import SfpiError


@pytest.fixture(autouse=True)
def every_mistake_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    bad = []

    def look_at(error: Exception, *arguments: object) -> None:
        message = str(error)
        if wrong := faults(message):
            bad.append(f"{type(error).__name__}: {message!r} {'; '.join(wrong)}")

    with monkeypatch.context() as patched:
        for kind in (Mistake, VirtualChipsError, SfpiError):
            patched.setattr(kind, "__init__", look_at)
        yield
    assert not bad, "\n".join(bad)
