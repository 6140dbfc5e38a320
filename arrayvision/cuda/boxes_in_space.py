"""Launches of boxes_in_space.cu; the functions and arguments of `cpu/boxes_in_space.py`."""

from arrayvision.cuda import rotated_boxes, runtime
from arrayvision.cuda.constants import constant
from arrayvision.cuda.runtime import empty
from arrayvision.cuda.types import FLOATS, c_type

BLOCK, ROWS = (constant("boxes_in_space.cu", name) for name in ("BLOCK", "ROWS"))
KERNELS = runtime.Kernels(
    "boxes_in_space.cu", [f"{kernel}<{T}>" for kernel in ("from_above", "all_pairs") for T in FLOATS]
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
    grid = -(-n // BLOCK), min(-(-m // ROWS), 65535)
    KERNELS.launch(f"all_pairs<{c_type(first)}>", grid, m, n, *p, *q, measure, out, block=BLOCK)


def nms(boxes, scores, threshold, turned):
    """Indices of the boxes kept by their IoU seen from above, by falling score; float64 scores."""
    return rotated_boxes.nms(from_above(boxes, turned)[0], scores, None, threshold, True, None, -1)
