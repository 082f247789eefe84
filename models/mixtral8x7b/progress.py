"""Progress bars of long work: how far, and how long still."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

OnProgress: TypeAlias = Callable[[float, float], None]  # done, of: any unit


def no_progress(done: float, of: float) -> None:
    pass


@contextmanager
def progress_bar(title: str) -> Iterator[OnProgress]:
    """A bar on stderr, driven by the function it yields; nothing where stderr is no terminal, or until it is called."""
    columns = (TextColumn(title), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    is_watched = sys.stderr is not None and sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), disable=not is_watched, transient=True) as progress:
        task = progress.add_task(title, total=None, visible=False)
        yield lambda done, of: progress.update(task, completed=done, total=of, visible=True)
