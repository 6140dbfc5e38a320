"""Launches of boxes_in_space.cu; the functions and arguments of `cpu/boxes_in_space.py`."""

from arrayvision.cuda import rotated_boxes, runtime
from arrayvision.cuda.constants import constant
from arrayvision.cuda.runtime import empty
from arrayvision.cuda.types import FLOATS, c_type

BLOCK, ROWS = (constant("boxes_in_space.cu", name) for name in ("BLOCK", "ROWS"))
MOST = 8192  # blocks; of more, each goes through several strips: its own boxes' sines are taken once
_NARROW = [T for T in FLOATS if T != "double"]  # results that need no more than Pairs
KERNELS = runtime.Kernels(
    "boxes_in_space.cu",
    [
        *(f"from_above<{T}>" for T in FLOATS),
        *(f"all_pairs<{T}, double>" for T in FLOATS),
        *(f"all_pairs<{T}, pairs::Pair>" for T in _NARROW),
    ],
)


def from_above(boxes, turned=True):
    """Rectangles (N, 5) and heights (N, 2) of boxes (N, 7) or, flat, (N, 5)."""
    n, columns = boxes.shape
    rectangles, heights = empty(boxes, (n, 5), "float64"), empty(boxes, (n, 2), "float64")
    KERNELS.launch(f"from_above<{c_type(boxes)}>", n, n, boxes, columns == 5, turned, rectangles, heights)
    return rectangles, heights


def overlaps(first, second, measure, out):
    """Fill out (M, N) with what boxes (M, 7) or (M, 5) share with others: areas, or IoUs seen from above, or in space."""
    (m, n), p, q = out.shape, from_above(first), from_above(second)
    kind, blocks = c_type(first), -(-n // BLOCK)
    grid = blocks, min(-(-m // ROWS), max(1, MOST // max(blocks, 1)), 65535)
    number = "pairs::Pair" if kind in _NARROW and runtime.slow_doubles(first) else "double"
    KERNELS.launch(f"all_pairs<{kind}, {number}>", grid, m, n, *p, *q, measure, out, block=BLOCK)


def nms(boxes, scores, threshold, turned):
    """Indices of the boxes kept by their IoU seen from above, by falling score; float64 scores."""
    return rotated_boxes.nms(from_above(boxes, turned)[0], scores, None, threshold, True, None, -1)
