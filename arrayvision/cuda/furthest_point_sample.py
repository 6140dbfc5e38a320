"""Launches of furthest_point_sample.cu; the functions and arguments of `cpu/furthest_point_sample.py`."""

from arrayvision.cuda import runtime
from arrayvision.cuda.constants import WARP, constant
from arrayvision.cuda.types import DTYPES, FLOATS, accumulator, c_type

BLOCK = constant("furthest_point_sample.cu", "BLOCK")
HELD = {
    (kernel, T): held[: 2 if accumulator(T) == "double" and kernel == "by_points" else None]
    for kernel, held in {"by_points": (1, 2, 4, 8), "by_distances": (1, 4, 16)}.items()
    for T in FLOATS
}  # points of a thread that registers have room for
KERNELS = runtime.Kernels(
    "furthest_point_sample.cu",
    [f"{kernel}<{T}, {per}>" for (kernel, T), held in HELD.items() for per in (0, *held)],
)


def _launch(kernel, x, out):
    clouds, size, kind = x.shape[0], x.shape[1], c_type(x)
    per = next((k for k in HELD[kernel, kind] if k * BLOCK >= size), 0)
    threads = -(-size // (per or 1))
    block = min(BLOCK, -(-threads // WARP) * WARP)
    room = runtime.empty(x, (1,) if per else (clouds, size), DTYPES[accumulator(kind)])
    grid = (clouds if out.shape[1] else 0,)
    KERNELS.launch(f"{kernel}<{kind}, {per}>", grid, size, out.shape[1], x, room, out, block=block)


def by_points(points, out):
    """Fill out (B, count) with samples of points (B, N, 3)."""
    _launch("by_points", points, out)


def by_distances(distances, out):
    """Fill out (B, count) with samples by distances (B, N, N)."""
    _launch("by_distances", distances, out)
