"""Launches of active_rotated_filter.cu; the functions and arguments of `cpu/active_rotated_filter.py`."""

import math

from arrayvision.cuda import runtime
from arrayvision.cuda.loops import INDICES, divider, index
from arrayvision.cuda.types import FLOATS, c_type

KERNELS = runtime.Kernels(
    "active_rotated_filter.cu",
    [
        "find_sources",
        *(f"{name}<{T}, {index}>" for name in ("rotate", "rotate_back") for T in FLOATS for index in INDICES),
    ],
)


def _sources(places):
    entries, rotations = places.shape
    sources = runtime.empty(places, (rotations, entries), "int32")
    KERNELS.launch("find_sources", entries * rotations, entries, rotations, places, sources)
    return sources


def forward(x, places, out):
    """Fill out (O, R, I, E) with x (O, I, E), whose numbers go to places (E, R) less 1."""
    n = math.prod(out.shape)
    kind = index(n, math.prod(x.shape))
    by = [divider(kind, size) for size in reversed(out.shape[1:])]
    KERNELS.launch(f"rotate<{c_type(x)}, {kind}>", n, n, *by, x, _sources(places), out)


def backward(grad, places, out):
    """Fill out (O, I, E) with the gradient, from that of the result (O, R, I, E)."""
    n = math.prod(out.shape)
    kind = index(n, math.prod(grad.shape))
    by = [divider(kind, size) for size in reversed(out.shape[1:])]
    KERNELS.launch(
        f"rotate_back<{c_type(grad)}, {kind}>", n, n, *by, grad.shape[1], grad, places, _sources(places), out
    )
