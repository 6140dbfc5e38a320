"""Maps whose channels lie first, as maps whose channels lie last, and back (see include/turned.cuh)."""

import math

from arrayvision.array import library_of
from arrayvision.cuda.constants import constant
from arrayvision.cuda.runtime import empty
from arrayvision.cuda.types import FLOATS, c_type

SIDE = constant("turned.cuh", "SIDE")
TURN = [f"turn<{T}>" for T in FLOATS]  # what a file that includes turned.cuh instantiates


def turn(kernels, count, rows, columns, x, out):
    """Fill out, which is (count, columns, rows), with x, (count, rows, columns)."""
    across = -(-columns // SIDE)
    kernels.launch(
        f"turn<{c_type(x)}>", (across * -(-rows // SIDE), min(count, 65535)), count, rows, columns, across, x, out
    )


def channels_last(kernels, x):
    """(B, H, W, C) of (B, C, H, W)."""
    batch, channels, *size = x.shape
    out = empty(x, (batch, *size, channels), library_of(x).dtype(x))
    turn(kernels, batch, channels, math.prod(size), x, out)
    return out
