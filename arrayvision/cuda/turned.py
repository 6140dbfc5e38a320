"""Maps whose channels lie first, as maps whose channels lie last, and back (see include/turned.cuh)."""

import math

from arrayvision.array import library_of
from arrayvision.cuda.constants import constant
from arrayvision.cuda.runtime import empty, zeros
from arrayvision.cuda.sums import round_sums
from arrayvision.cuda.types import DTYPES, FLOATS, accumulator, c_type

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


def last_sums(out):
    """Zeros (B, H, W, C) to which a kernel adds the numbers of out (B, C, H, W): in float32 for a 16-bit one."""
    batch, channels, *size = out.shape
    return zeros(out, (batch, *size, channels), DTYPES[accumulator(c_type(out))])


def turn_sums(kernels, sums, out):
    """Write the sums that `last_sums(out)` gave room for to `out`."""
    batch, channels, *size = out.shape
    rounded = sums if c_type(sums) == c_type(out) else empty(out, sums.shape, library_of(out).dtype(out))
    round_sums(kernels, sums, rounded)
    turn(kernels, batch, math.prod(size), channels, rounded, out)
