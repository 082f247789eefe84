"""The learning rate of a step."""

import math

FINAL_SHARE = 0.02  # of the peak rate, at the last step


def learning_rate(step: int, n_steps: int, warm_up: int, peak: float) -> float:
    """Straight up to the peak in `warm_up` steps, then half a cosine down."""
    if step < warm_up:
        return peak * (step + 1) / warm_up
    done = (step - warm_up) / max(1, n_steps - warm_up)
    return peak * (FINAL_SHARE + (1 - FINAL_SHARE) * (1 + math.cos(math.pi * done)) / 2)
