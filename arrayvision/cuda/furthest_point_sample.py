"""Launches of furthest_point_sample.cu; the functions and arguments of `cpu/furthest_point_sample.py`."""

from arrayvision.cuda import runtime
from arrayvision.cuda.constants import WARP, constant
from arrayvision.cuda.types import DTYPES, FLOATS, accumulator, c_type

BLOCK = constant("furthest_point_sample.cu", "BLOCK")
# Points of a thread that registers have room for, and how many of their coordinates.
POINTS = {
    T: ((1, 3), (2, 3), (8, 0)) if accumulator(T) == "double" else ((1, 3), (2, 3), (4, 3), (8, 3), (16, 1), (24, 0))
    for T in FLOATS
}
DISTANCES = (1, 4, 16)
KERNELS = runtime.Kernels(
    "furthest_point_sample.cu",
    [
        *(f"by_points<{T}, {per}, {held}>" for T in FLOATS for per, held in ((0, 0), *POINTS[T])),
        *(f"by_distances<{T}, {per}>" for T in FLOATS for per in (0, *DISTANCES)),
    ],
)
FIXED = 1024  # bytes of shared memory that are the kernels' own, or fewer


def _block(size, per):
    return min(BLOCK, -(-size // (WARP * (per or 1))) * WARP)


def by_points(points, out):
    """Fill out (B, count) with samples of points (B, N, 3)."""
    clouds, size, kind = points.shape[0], points.shape[1], c_type(points)
    per, inside = next((pair for pair in POINTS[kind] if pair[0] * BLOCK >= size), (0, 0))
    stride = held = shared = 0
    planes = 3
    if inside < 3:  # shared memory holds what it can of the coordinates that registers don't, or of all
        stride, item = -(-size // 4) * 4, 8 if accumulator(kind) == "double" else 4
        room = runtime.shared_memory(points) - FIXED
        if inside and 3 * item * stride > room:
            planes = 3 - inside
        held = min(stride, room // (planes * item) // (4 * WARP) * (4 * WARP))
        shared = planes * item * held
    room = runtime.empty(points, (clouds, 4, stride) if stride else (1,), DTYPES[accumulator(kind)])
    KERNELS.launch(
        f"by_points<{kind}, {per}, {inside}>", (clouds if out.shape[1] else 0,), size, out.shape[1], held, planes, stride, points,
        room, out, block=_block(size, per), shared=shared,
    )  # fmt: skip


def by_distances(distances, out):
    """Fill out (B, count) with samples by distances (B, N, N)."""
    clouds, size, kind = distances.shape[0], distances.shape[1], c_type(distances)
    per = next((k for k in DISTANCES if k * BLOCK >= size), 0)
    room = runtime.empty(distances, (1,) if per else (clouds, size), DTYPES[accumulator(kind)])
    grid = (clouds if out.shape[1] else 0,)
    KERNELS.launch(
        f"by_distances<{kind}, {per}>", grid, size, out.shape[1], distances, room, out, block=_block(size, per)
    )
