"""32 users of one length, for every length, against the reference: minutes, so of `make test-full` only.

.venv/bin/python -m pytest tests/long/test_prefill.py
"""

import pytest

from tests.tt.cases import DEVICES
from tests.tt.prefill_cases import LENGTHS, PASSES, check_prefills


@pytest.mark.parametrize("n_devices", DEVICES)
@pytest.mark.parametrize("max_pass_tokens", PASSES.values(), ids=PASSES)
def test_32_users_prefilled_together_equal_reference(n_devices: int, max_pass_tokens: int) -> None:
    check_prefills(n_devices, max_pass_tokens, [[length] * 32 for length in LENGTHS])
