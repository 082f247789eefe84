"""What looks at every message sees what it should."""

import pytest

from models.mixtral8x7b.mistake import Mistake
from tests.sentences import faults


@pytest.mark.parametrize(
    "message",
    [
        "cannot use None: Broken pipe; run again",
        "/a needs 0.0 GB and the disk has 3 MB; make room",
        "/a is 0.00 GB too large; make room for it",
        "/a cannot be written ([Errno 28] No space left on device); make room",
        "/a is damaged (KeyError('files')); delete the folder",
        "/a is damaged; delete the folder.",
        "/a is damaged\ndelete the folder it is in",
        "/a/b/c has no weights and no configuration",
        "fetch it again",
    ],
)
def test_a_bad_message_is_seen(message: str) -> None:
    assert faults(message)


def test_a_good_message_is_left_alone() -> None:
    assert faults("top_k is 99; expected 1 to 32") == []
    assert str(Mistake("top_k is 99; expected 1 to 32")) == "top_k is 99; expected 1 to 32"
