"""Where kernels add gradients up, and how the sums reach a result of a 16-bit type (see include/sums.cuh)."""

import math

from arrayvision.array import library_of
from arrayvision.cuda.runtime import zeros
from arrayvision.cuda.types import DTYPES, FLOATS, accumulator, c_type

ROUND_SUMS = [f"round_sums<{T}>" for T in FLOATS]  # what a file that includes sums.cuh instantiates


def zero_sums(out):
    """Zeros to which a kernel adds: `out` itself, or another array in float32 for a 16-bit one."""
    kind = accumulator(c_type(out))
    if kind != c_type(out):
        return zeros(out, out.shape, DTYPES[kind])
    library_of(out).zero(out)
    return out


def round_sums(kernels, sums, out):
    """Write the sums that `zero_sums(out)` gave room for to `out`, unless they are there."""
    if sums is not out:
        n = math.prod(out.shape)
        kernels.launch(f"round_sums<{c_type(out)}>", n, n, sums, out)
