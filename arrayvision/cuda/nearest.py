"""How many threads look for a point's nearest (see include/nearest.cuh)."""

from arrayvision.cuda.constants import WARP

THREADS = 2**17  # that fill a GPU


def lanes(queries: int, points: int) -> int:
    """Neighbouring threads of each of so many queries: a power of two up to a warp."""
    found = 1
    while found < min(WARP, points) and queries * found < THREADS:
        found *= 2
    return found
