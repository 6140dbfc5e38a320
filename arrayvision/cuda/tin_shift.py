"""Launches of tin_shift.cu; the functions and arguments of `cpu/tin_shift.py`."""

from arrayvision.cuda import runtime
from arrayvision.cuda.types import FLOATS, c_type

KERNELS = runtime.Kernels("tin_shift.cu", [f"copy_groups<{T}>" for T in FLOATS])


def shift(x, shifts, out):
    """Fill out (N, T, G, size) with x moved by shifts (N, G) along T."""
    clips, frames, groups, size = x.shape
    n = clips * frames * groups * size
    KERNELS.launch(f"copy_groups<{c_type(x)}>", n, n, frames, groups, size, x, shifts, out)
