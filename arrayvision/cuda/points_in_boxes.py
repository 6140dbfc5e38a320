"""Launches of points_in_boxes.cu; the functions and arguments of `cpu/points_in_boxes.py`."""

from arrayvision.cuda import runtime
from arrayvision.cuda.constants import constant
from arrayvision.cuda.loops import INDICES, divider, index
from arrayvision.cuda.types import FLOATS, c_type

BLOCK, EACH = (constant("points_in_boxes.cu", name) for name in ("BLOCK", "EACH"))
KERNELS = runtime.Kernels(
    "points_in_boxes.cu",
    [
        *(f"{kernel}<{T}>" for kernel in ("prepare", "part") for T in FLOATS),
        *(f"all<{T}, {kind}>" for T in FLOATS for kind in INDICES),
    ],
)


def _prepared(boxes):
    kind, n = c_type(boxes), boxes.shape[0] * boxes.shape[1]
    made = runtime.empty(boxes, (n, 8), "float64")
    KERNELS.launch(f"prepare<{kind}>", n, n, boxes, made, block=BLOCK)
    return made


def part(points, boxes, out):
    """Fill out (B, M) with each point's first box, or -1; points (B, M, 3), boxes (B, T, 7)."""
    clouds, count = out.shape
    grid = -(-count // BLOCK), min(clouds, 65535)
    KERNELS.launch(
        f"part<{c_type(points)}>", grid, clouds, count, boxes.shape[1], points, _prepared(boxes), out, block=BLOCK
    )


def all(points, boxes, out):
    """Fill out (B, M, T) with whether each point lies in each box."""
    clouds, count, each = out.shape
    steps = -(-count // EACH)
    n, kind = clouds * steps * each, index(clouds * count * each)
    by = divider(kind, each), divider(kind, steps)
    KERNELS.launch(f"all<{c_type(points)}, {kind}>", n, n, *by, count, points, _prepared(boxes), out, block=BLOCK)
