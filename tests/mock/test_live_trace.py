"""One trace of the decode step may live while prefill passes run, says ttnn's own allocation tracker."""

import json

from tests.mock import live_trace
from tests.mock.test_environment import ended, start


def test_the_tracker_allows_what_was_warmed_and_nothing_else() -> None:
    output = ended(start("from tests.mock import live_trace; live_trace.main()"))
    found = json.loads(output.splitlines()[-1])
    programs, said = found[live_trace.WARM_UP]
    assert said == ""
    for what in (live_trace.MIXES, live_trace.DECODE, live_trace.FREED):
        assert found[what] == [programs, ""], what
    refused = "device buffer(s) still alive before trace replay"
    assert f"Found 1 {refused}" in found[live_trace.KEPT][1]
    assert refused in found[live_trace.UNWARMED][1]
    assert found[live_trace.UNWARMED][0] > programs
