"""What an engine has done so far, in numbers that only grow, and what it holds now."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace


@dataclass
class Stats:
    """Written by the engine's thread; `Engine.stats` gives a copy. Rows and tokens are summed over passes and steps."""

    n_waiting: int = 0
    n_prefilling: int = 0
    n_decoding: int = 0
    n_free_blocks: int = 0
    n_cached_blocks: int = 0
    n_held_blocks: int = 0
    finished: dict[str, int] = field(default_factory=dict)  # by reason
    prompt_tokens: int = 0  # of requests that have had a row
    cached_tokens: int = 0  # of these, found in the prefix cache
    new_tokens: int = 0
    preemptions: int = 0
    passes: int = 0
    pass_rows: int = 0  # padding and all
    prefilled_tokens: int = 0  # recomputed ones too
    pass_s: float = 0.0
    steps: int = 0
    step_tokens: int = 0  # rows that decoded
    step_s: float = 0.0
    turns: dict[int, int] = field(default_factory=dict)  # passes and steps, by tokens: up to 1, 2, 4, 8, ...

    def count_finish(self, reason: str) -> None:
        self.finished[reason] = self.finished.get(reason, 0) + 1

    def count_turn(self, n_tokens: int) -> None:
        """A pass or a step of so many tokens, padding left out."""
        most = 1 << (n_tokens - 1).bit_length()
        self.turns[most] = self.turns.get(most, 0) + 1

    def counts(self) -> "Stats":
        """What has been done, without what is held: of an engine that ends."""
        held = {one.name: 0 for one in fields(self) if one.name.startswith("n_")}
        return replace(self, **held)  # type: ignore[arg-type]


def total(of: Iterable[Stats]) -> Stats:
    """Of several engines together."""
    summed = Stats()
    for stats in of:
        for name, value in vars(stats).items():
            so_far = getattr(summed, name)
            if isinstance(value, dict):
                so_far.update({key: so_far.get(key, 0) + n for key, n in value.items()})
            else:
                setattr(summed, name, so_far + value)
    return summed
