"""Comparisons whose failure is a Finding: what differs, by how much, and on which chip."""

from collections import Counter
from collections.abc import Sequence
from itertools import count

import torch

from models.mixtral8x7b.first_light.verdicts import Finding, Verdict

NO_NUMBER = 1e30  # nothing that the model computes is as large, but for what is masked


def pcc(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Pearson correlation of all values together; 0 where one of the two is constant."""
    found = float(torch.corrcoef(torch.stack((ours.flatten().double(), theirs.flatten().double())))[0, 1])
    return found if found == found else 0.0


class Checks:
    """compares: False on the mock, whose values mean nothing: then all is well."""

    def __init__(self, compares: bool) -> None:
        self.compares = compares
        self.worst_pcc = 1.0

    def numbers(self, found: torch.Tensor, what: str, topic: str | None = None) -> None:
        """None of them is garbage."""
        if not self.compares or not found.is_floating_point():
            return
        bad = ~torch.isfinite(found) | (found.abs() >= NO_NUMBER)
        if bad.any():
            place = bad.nonzero()[0].tolist()
            raise Finding(
                Verdict.GARBAGE,
                f"{what}: {int(bad.sum())} of {found.numel()} values are no numbers, the first at {place}: "
                f"{float(found[tuple(place)]):g}",
                topic,
            )

    def equal(self, found: torch.Tensor, expected: torch.Tensor, what: str, topic: str | None = None) -> None:
        if not self.compares:
            return
        self.numbers(found, what, topic)
        differs = found != expected
        if differs.any():
            place = tuple(differs.nonzero()[0].tolist())
            raise Finding(
                Verdict.WRONG,
                f"{what}: {int(differs.sum())} of {differs.numel()} values differ, the first at {list(place)}: "
                f"{float(found[place]):g}, expected {float(expected[place]):g}",
                topic,
            )

    def close(
        self, found: torch.Tensor, expected: torch.Tensor, least_pcc: float, what: str, topic: str | None = None
    ) -> float:
        """The correlation."""
        if not self.compares:
            return 1.0
        self.numbers(found, what, topic)
        alike = pcc(found, expected)
        self.worst_pcc = min(self.worst_pcc, alike)
        if alike < least_pcc:
            raise Finding(Verdict.WRONG, f"{what}: PCC {alike:.6f}, expected at least {least_pcc}", topic)
        return alike

    def alike(self, parts: Sequence[torch.Tensor], what: str, topic: str | None = None) -> None:
        """All chips hold the same; the one that most of them hold counts as right."""
        if not self.compares:
            return
        kinds = [next(n for n in count() if parts[n] is part or torch.equal(parts[n], part)) for part in parts]
        usual = Counter(kinds).most_common(1)[0][0]
        odd = [chip for chip, kind in enumerate(kinds) if kind != usual]
        if odd:
            n = int((parts[odd[0]] != parts[usual]).sum())
            chips = f"chip {odd[0]} differs" if len(odd) == 1 else f"chips {', '.join(map(str, odd))} differ"
            raise Finding(
                Verdict.DISAGREE, f"{what}: {chips} from the others, in {n} of {parts[usual].numel()} values", topic
            )
