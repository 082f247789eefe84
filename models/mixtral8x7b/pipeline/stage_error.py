"""Why a stage gives nothing, in a sentence each: the same wherever it is."""

from models.mixtral8x7b.mistake import Mistake

ANSWERS_WITHIN_S = 600.0  # a first pass or step may build its programs: stages do not warm up
_AGAIN = "the answers under way are lost: ask again"


class StageError(Mistake):
    """A stage has ended, or cannot be opened. Until it is started again it gives nothing."""


def has_ended(name: str, how: str) -> StageError:
    return StageError(f"{name} has ended ({how}), {_AGAIN}")


def hangs(name: str, within_s: float) -> StageError:
    return StageError(f"{name} has not answered within {within_s:.0f} s and was ended, {_AGAIN}")


def cannot_be_opened(error: Exception) -> str:
    """To be said behind the stage's name, as `failed`: both are made where the stage is."""
    if isinstance(error, Mistake):
        return f"cannot be opened: {error}"
    return f"cannot be opened, start the program again ({type(error).__name__}: {error})"


def failed(error: Exception) -> str:
    why = str(error) if isinstance(error, Mistake) else f"{type(error).__name__}: {error}"
    return f"failed and was ended ({why}), {_AGAIN}"
