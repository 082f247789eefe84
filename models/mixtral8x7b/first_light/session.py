"""One run of first light: what it goes on from, what it prints and leaves behind."""

import errno
import re
from collections.abc import Callable
from pathlib import Path

from models.mixtral8x7b.durable import exclusive, write_text_durably
from models.mixtral8x7b.first_light.flow import FirstLight, Options
from models.mixtral8x7b.first_light.machine import write_machine
from models.mixtral8x7b.first_light.report import report, table, to_do
from models.mixtral8x7b.first_light.state import State, versions
from models.mixtral8x7b.first_light.verdicts import WHAT_TO_DO, Verdict
from models.mixtral8x7b.machine import Machine
from models.mixtral8x7b.mistake import Mistake, reason
from models.mixtral8x7b.target import NUMBERS_OF

FOLDER = "first-light"  # in the user's cache: what each step was asked, told and printed
STATE = "state.json"


class NotRight(Mistake):
    """Something is not right; the sentence says how many steps, and where to read on."""


class Session:
    def __init__(self, options: Options, user_cache: Path, start: Machine, again: bool) -> None:
        self._options, self._user_cache = options, user_cache
        kind = f"{options.target}-{options.chips}{'-quick' if options.quick else ''}"
        self._folder = user_cache / FOLDER / re.sub(r"\W", "-", kind)
        self._about = {
            "target": f"{options.target}: {NUMBERS_OF[options.target]}",
            "chips": str(options.chips),
            "precision": options.precision,
            "weights": "the owner's" if options.checkpoint else "none",
            **versions(),
        }
        file, of = self._folder / STATE, {**self._about, "begun with": str(start)}
        self._state = State(file, of, start) if again else State.read(file, of, start)

    @property
    def title(self) -> str:
        return f"first light on {self._about['chips']} chips, target {self._about['target']}"

    def run(self, report_file: Path, say: Callable[[str], None], go_on: Callable[[str], bool]) -> None:
        """Prints the table, writes the report and what works. Raises NotRight, and OSError where it cannot be written,
        the table printed before."""
        with exclusive(self._folder):
            flow = FirstLight(self._options, self._state, self._folder, say, go_on)
            try:
                flow.run()
            except OSError as error:
                print(table(flow.results))
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise NotRight(f"disk full: {reason(error)}; {WHAT_TO_DO[Verdict.FULL]}") from error
                raise
            print(table(flow.results))
            for line in to_do(flow.results):
                print(line)
            write_text_durably(report_file, report(flow.results, self._state.machine, self._about))
            written = write_machine(self._user_cache, self._options.target, self._state.machine, versions())
        say(f"{report_file} is written: versions, topology, verdicts and timings, no names and no paths")
        say(f"{written} says what works on this machine")
        say(f"the chips were open for {flow.chip_seconds:.0f} s in all")
        failed = len(to_do(flow.results))
        if flow.stopped_before is not None:
            raise NotRight(f"stopped before {flow.stopped_before}; do what stands above, then run it again")
        if failed:
            raise NotRight(f"{failed} of the steps are not right; see the table, and attach {report_file} to an issue")
