"""What a soak found, as rows of a table; a row that must not be so is a fault."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.soak.ledger import ANSWERED, CUT, LEFT, REFUSED, Ledger

MOST_GROWTH = 0.01  # of the server's memory, after the warm-up
MOST_GROWTH_SOON, SOON_S = 0.05, 600  # the same in a short run, in which not all has been used once
MOST_OTHER = 0.05  # of the greedy answers whose last bits may depend on what was cached


@dataclass(frozen=True)
class Row:
    name: str
    found: str
    is_fault: bool = False


def rows_of_requests(ledger: Ledger) -> list[Row]:
    ends = ledger.ends()
    others = ledger.n_same + ledger.n_other
    told = ", ".join(f"{ends[end]} {end}" for end in (ANSWERED, REFUSED, LEFT, CUT, "lost"))
    return [
        Row("requests", f"{sum(ends.values())}: {told}", ends["lost"] > 0),
        Row("known questions", f"{ledger.n_right} right, {ledger.n_wrong} wrong", ledger.n_wrong > 0),
        Row(
            "other greedy answers",
            f"{ledger.n_same} as their prompt's first, {ledger.n_other} not (at most {MOST_OTHER:.0%})",
            ledger.n_other > MOST_OTHER * others,
        ),
        Row("unexpected", str(len(ledger.faults)), bool(ledger.faults)),
    ]


def rows_of_times(ledger: Ledger) -> list[Row]:
    """Of the clients' clocks: streams for tokens, all that was answered for the whole."""
    entries = ledger.entries
    firsts = [entry.first_token_s for entry in entries if entry.first_token_s is not None]
    between = [1e3 * entry.per_token_s for entry in entries if entry.per_token_s is not None]
    wholes = [entry.whole_s for entry in entries if entry.end == ANSWERED]
    return [
        Row("time to first token, s", _percentiles(firsts, 2)),
        Row("time per token, ms", _percentiles(between, 0)),
        Row("whole answer, s", _percentiles(wholes, 2)),
    ]


def row_of_memory(samples: Sequence[int], warm_up: int) -> Row:
    """samples: bytes, one a second; the first `warm_up` do not count. Of the rest the least of the first third and of
    the last: what a pass or a large body takes and gives back is no growth, what stays is."""
    steady = samples[warm_up:]
    third = max(1, len(steady) // 3)
    before, after, most = min(steady[:third]), min(steady[-third:]), max(steady)
    growth, limit = after / before - 1, MOST_GROWTH_SOON if len(samples) < SOON_S else MOST_GROWTH
    told = f"{before / 1e6:.1f} MB after {warm_up} s, {after / 1e6:.1f} at the end, {most / 1e6:.1f} at most"
    return Row("memory of the server", f"{told}: {growth:+.2%} (below {limit:.0%})", growth >= limit)


def rows_of_the_server(ledger: Ledger, metrics: dict[str, float], new_files: int) -> list[Row]:
    """What it counts at the end, when all clients are gone. new_files: that it has open, beside those of its start."""
    running, waiting = metrics["num_requests_running"], metrics["num_requests_waiting"]
    held = metrics["kv_cache_usage_perc"]
    reasons = ("stop", "length", "abort", "error")
    ended = {reason: int(metrics[f"request_success_total {reason}"]) for reason in reasons}
    most = sum(entry.n_submitted for entry in ledger.entries)
    least = sum(entry.n_submitted for entry in ledger.entries if entry.end == ANSWERED)
    told = ", ".join(f"{n} {reason}" for reason, n in ended.items())
    cached = metrics["prefix_cache_hits_total"] / max(1, metrics["prefix_cache_queries_total"])
    return [
        Row(
            "left at the end",
            f"{running:.0f} running, {waiting:.0f} waiting, {held:.0%} of the KV blocks held, {new_files} connections",
            any((running, waiting, held, new_files)),
        ),
        Row(
            "answers that it counts",
            f"{told}; the clients asked for {least} that they stayed for, and for {most - least} more",
            bool(ended["error"]) or not least <= sum(ended.values()) <= most,
        ),
        Row(
            "tokens that it counts",
            f"{metrics['generation_tokens_total']:.0f} new, {metrics['prompt_tokens_total']:.0f} of prompts "
            f"({cached:.0%} cached), {metrics['num_preemptions_total']:.0f} preemptions",
        ),
    ]


def _percentiles(values: Sequence[float], digits: int) -> str:
    ordered = sorted(values)
    found = [ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)] for share in (0.5, 0.95, 0.99)]
    return "p50 {:.{d}f}, p95 {:.{d}f}, p99 {:.{d}f}".format(*found, d=digits) + f" ({len(ordered)})"
