"""Launches of tin_shift.cu; the functions and arguments of `cpu/tin_shift.py`."""

from arrayvision.cuda import runtime
from arrayvision.cuda.loops import INDICES, divider, index
from arrayvision.cuda.types import FLOATS, SIXTEEN, c_type, together

KERNELS = runtime.Kernels(
    "tin_shift.cu", [f"copy_groups<{T}, {v}, {kind}>" for T in FLOATS for v in (1, SIXTEEN[T]) for kind in INDICES]
)


def shift(x, shifts, out):
    """Fill out (N, T, G, size) with x moved by shifts (N, G) along T."""
    clips, frames, groups, size = x.shape
    v = together(size, x, out)
    n = clips * frames * groups * size // v
    kind = index(n)
    by = [divider(kind, length) for length in (size // v, groups, frames)]
    KERNELS.launch(f"copy_groups<{c_type(x)}, {v}, {kind}>", n, n, frames, *by, x, shifts, out)
