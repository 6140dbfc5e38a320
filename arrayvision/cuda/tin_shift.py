"""Launches of tin_shift.cu; the functions and arguments of `cpu/tin_shift.py`."""

from arrayvision.cuda import runtime
from arrayvision.cuda.loops import INDICES, divider, index
from arrayvision.cuda.types import FLOATS, c_type

KERNELS = runtime.Kernels("tin_shift.cu", [f"copy_groups<{T}, {kind}>" for T in FLOATS for kind in INDICES])


def shift(x, shifts, out):
    """Fill out (N, T, G, size) with x moved by shifts (N, G) along T."""
    clips, frames, groups, size = x.shape
    n = clips * frames * groups * size
    kind = index(n)
    by = [divider(kind, length) for length in (size, groups, frames)]
    KERNELS.launch(f"copy_groups<{c_type(x)}, {kind}>", n, n, frames, *by, x, shifts, out)
