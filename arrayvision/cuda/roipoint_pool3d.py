"""Launches of roipoint_pool3d.cu; the functions and arguments of `cpu/roipoint_pool3d.py`."""

from arrayvision.cuda import runtime
from arrayvision.cuda.boxes3d import MEMBERS, members
from arrayvision.cuda.loops import INDICES, divider, index
from arrayvision.cuda.types import FLOATS, c_type

KERNELS = runtime.Kernels(
    "roipoint_pool3d.cu", [*MEMBERS, *(f"sample<{T}, {kind}>" for T in FLOATS for kind in INDICES), "mark_empty"]
)


def roipoint_pool3d(points, coordinates, feats, boxes, out, empty):
    """Fill out (B, M, S, 3 + C) and empty (B, M); points and boxes in float64, coordinates are the points in out's dtype."""
    examples, per, sampled, width = out.shape
    if examples * per == 0:
        return
    _, found, counts, ends = members(KERNELS, boxes, points)
    n = examples * per * sampled * width
    kind = index(n)
    by = [divider(kind, size) for size in (width, sampled, per)]
    args = n, *by, feats.shape[2], points.shape[1], coordinates, feats, found, counts, ends, out
    KERNELS.launch(f"sample<{c_type(out)}, {kind}>", n, *args)
    KERNELS.launch("mark_empty", examples * per, examples * per, counts, empty)
