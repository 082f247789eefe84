"""Makes this process poor for a moment."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def n_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir())) - 1  # the listing has one of its own


@contextmanager
def descriptors_left(n: int) -> Iterator[None]:
    """This process can open n files and no more."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(entry.name) for entry in Path("/proc/self/fd").iterdir())
    filling = [os.open("/dev/null", os.O_RDONLY)]
    while filling[-1] < highest + n:
        filling.append(os.open("/dev/null", os.O_RDONLY))
    for descriptor in [descriptor for descriptor in filling if descriptor > highest]:
        os.close(descriptor)
        filling.remove(descriptor)
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1 + n, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for descriptor in filling:
            os.close(descriptor)
