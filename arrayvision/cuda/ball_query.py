"""Launches of ball_query.cu; the functions and arguments of `cpu/ball_query.py`."""

from arrayvision.array import library_of
from arrayvision.cuda import runtime
from arrayvision.cuda.constants import constant
from arrayvision.cuda.types import FLOATS, c_type

BLOCK, WARPS = (constant("ball_query.cu", name) for name in ("BLOCK", "WARPS"))
KERNELS = runtime.Kernels("ball_query.cu", [f"find<{T}>" for T in FLOATS])


def _launch(clouds, rows, longest, counts, missing, least, most, points, centers, out):
    grid = -(-longest // WARPS), min(clouds, 65535)
    none = runtime.empty(out, (1,), "int64") if counts is None else None  # which is not read
    KERNELS.launch(
        f"find<{c_type(points)}>", grid, clouds, *rows, counts is not None, *(counts or (none, none)), out.shape[-1], missing,
        least, most, points, centers, out, block=BLOCK,
    )  # fmt: skip


def find(least, most, points, centers, out):
    """Fill out (B, M, size) with indices of the points (B, N, 3) round centers (B, M, 3) whose squares of distances are 0, or at
    least `least` and below `most`."""
    clouds, size, count = points.shape[0], points.shape[1], centers.shape[1]
    _launch(clouds, (clouds * size, clouds * count), count, None, 0, least, most, points, centers, out)


def find_stacked(least, most, points, centers, counts, center_counts, out):
    """The same of clouds that lie behind one another, of so many points and centres; -1 begins where none is found."""
    library_of(out).zero(out)
    rows = len(points), len(centers)
    _launch(len(counts), rows, len(centers), (counts, center_counts), -1, least, most, points, centers, out)
