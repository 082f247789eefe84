"""The turns of a chat: lines in, answers out, and what may be typed besides."""

import json
import sys
from dataclasses import replace
from pathlib import Path

from models.mixtral8x7b.cli.answer import TextStream, speed
from models.mixtral8x7b.cli.prompt import PromptError, checked_text
from models.mixtral8x7b.cli.served import Served
from models.mixtral8x7b.durable import write_text_durably
from models.mixtral8x7b.mistake import Mistake, reason
from models.mixtral8x7b.sampling import SamplingParams
from models.mixtral8x7b.terminal import harmless
from models.mixtral8x7b.tokenizer import ChatError, Conversation

HELP = """\
/help         this
/reset        forget all that was said
/save FILE    write what was said, as JSON: a list of {"role": ..., "content": ...}
/quit         end, as Ctrl-D does
Anything else is said to the model. The arrow keys bring back earlier lines."""
SHARE_OF_ANSWERS = 1 / 4  # of the context is kept for the answer where it may go on until the context ends


class TalkError(Mistake):
    """A chat that cannot be; the message says why."""


def ids_of_a_question(max_context: int, max_new_tokens: int) -> int:
    """At most, with all that was said before it; the rest of the context is the answer's. Raises TalkError for none."""
    kept = max_new_tokens or max(1, int(SHARE_OF_ANSWERS * max_context))
    if kept >= max_context:
        raise TalkError(
            f"--max-new-tokens is {kept} and the context {max_context}; expected room for a question: set a lower one"
        )
    return max_context - kept


def check_streams() -> None:
    """Raises TalkError where standard input or output is closed."""
    if sys.stdin is None or sys.stdout is None or sys.stderr is None:
        raise TalkError("a chat needs standard input, output and error, and one of them is closed; open it")


class Talk:
    """A chat with a model, on the terminal. Every turn has a seed of its own, the first that of `sampling`.

    most_ids          as `ids_of_a_question` says
    max_new_tokens    of an answer; 0: until the context ends
    """

    def __init__(
        self, model: Served, system: str, most_ids: int, max_new_tokens: int, sampling: SamplingParams
    ) -> None:
        self._model, self._system, self._sampling = model, system, sampling
        self._most_ids, self._most_new = most_ids, max_new_tokens
        self._saved: set[Path] = set()
        self._begin()

    def _begin(self) -> None:
        self._conversation = Conversation(self._model.tokenizer, self._most_ids, self._system)

    def run(self) -> None:
        """Until the input ends, or /quit. `check_streams` must have passed."""
        is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
        if is_terminal:
            import readline  # noqa: F401 input() has arrow keys and history from here on
        while True:
            try:
                line = checked_text("line", input("> " if is_terminal else "")).strip()
            except (UnicodeDecodeError, PromptError):
                _say("the line is not UTF-8; expected text that is: type it again")
                continue
            except EOFError:
                if is_terminal:
                    print()
                return
            if line == "/quit":
                return
            if line.startswith("/"):
                self._obey(line)
            elif line:
                self._turn(line)

    def _obey(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word == "/help":
            print(HELP, file=sys.stderr)
        elif word == "/reset":
            self._begin()
            _say("all that was said is forgotten")
        elif word == "/save":
            self._save(rest.strip())
        else:
            _say(f"there is no {word}; /help lists what there is")

    def _save(self, name: str) -> None:
        file = Path(name).expanduser()
        if not name:
            _say("/save needs the name of a file")
        elif file.exists() and file not in self._saved:
            _say(f"{file} exists; choose another name")
        else:
            try:
                write_text_durably(file, json.dumps(self._conversation.messages, ensure_ascii=False, indent=1) + "\n")
            except OSError as error:
                _say(f"{file} cannot be written: {reason(error)}; choose another name")
            else:
                self._saved.add(file)
                _say(f"saved in {file}")

    def _turn(self, line: str) -> None:
        before = self._conversation.n_dropped
        try:
            ids = self._conversation.ask(line)
        except ChatError as error:
            _say(str(error))
            return
        if dropped := self._conversation.n_dropped - before:
            _say(f"the context of {self._model.max_context} tokens is full: the oldest {_turns(dropped)} forgotten")
        room = self._model.max_context - len(ids)
        answer = TextStream(self._model, ids, min(self._most_new or room, room), self._sampling)
        for piece in answer:
            print(harmless(piece), end="", flush=True)
        print(flush=True)
        self._conversation.answered(answer.ids, answer.text)
        self._sampling = replace(self._sampling, seed=self._sampling.seed + 1)
        if answer.reason == "length":
            _say("the answer was cut off (--max-new-tokens, --context)")
        _say(speed([answer.finish], self._model.weight_bytes))


def _turns(n: int) -> str:
    return "turn is" if n == 1 else f"{n} turns are"


def _say(sentence: str) -> None:
    """Beside the chat: on stderr."""
    print(f"[{sentence}]", file=sys.stderr, flush=True)
