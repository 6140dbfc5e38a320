"""Launches of corner_pool.cu; the functions and arguments of `cpu/corner_pool.py`."""

import math

from arrayvision.array import library_of
from arrayvision.cuda import runtime
from arrayvision.cuda.constants import WARP
from arrayvision.cuda.types import FLOATS, c_type

_ALONG = [f"{name}_{lines}" for name in ("carry", "collect") for lines in ("rows", "columns")]
KERNELS = runtime.Kernels(
    "corner_pool.cu",
    [
        *(f"pool_{lines}<{T}>" for lines in ("rows", "columns") for T in (*FLOATS, "int64_t")),
        *(f"{name}<{T}>" for name in _ALONG for T in FLOATS),
    ],
)


def _launch(name, kind, arrays, mode, out):
    n, c, h, w = out.shape
    if 0 in out.shape:
        return
    rising = mode in ("bottom", "right")
    if mode in ("top", "bottom"):
        # Small blocks: threads that go through a column each are few, and are to be on all multiprocessors alike.
        KERNELS.launch(f"{name}_columns<{kind}>", n * c * w, n * c, h, w, rising, *arrays, out, block=64)
    else:
        KERNELS.launch(f"{name}_rows<{kind}>", math.prod(out.shape[:3]) * WARP, n * c * h, w, rising, *arrays, out)


def forward(x, mode, out):
    """Fill out (N, C, H, W) with the running maxima of x."""
    kind = "int64_t" if library_of(x).dtype(x) == "int64" else c_type(x)
    _launch("pool", kind, (x,), mode, out)


def backward(grad, x, pooled, mode, out):
    """Fill out (N, C, H, W) with the gradient for x."""
    _launch("collect", c_type(grad), (grad, x, pooled), mode, out)


def tangent(tangent, x, pooled, mode, out):
    """Fill out (N, C, H, W) with the tangent where each maximum came from."""
    _launch("carry", c_type(tangent), (tangent, x, pooled), mode, out)
