"""Counts of several engines, and of those that have ended."""

from models.mixtral8x7b.engine.stats import Stats, total


def test_a_total_is_of_what_was_done_and_what_is_held() -> None:
    one = Stats(n_waiting=3, n_free_blocks=5, new_tokens=7, finished={"stop": 1}, turns={1: 2, 4: 1})
    other = Stats(n_waiting=1, new_tokens=10, step_s=0.5, finished={"stop": 2, "lost": 4}, turns={4: 1})
    assert total([one, other]) == Stats(
        n_waiting=4,
        n_free_blocks=5,
        new_tokens=17,
        step_s=0.5,
        finished={"stop": 3, "lost": 4},
        turns={1: 2, 4: 2},
    )
    assert one.finished == {"stop": 1}, "is left as it was"
    assert one.counts() == Stats(new_tokens=7, finished={"stop": 1}, turns={1: 2, 4: 1})
    assert total([]) == Stats()
