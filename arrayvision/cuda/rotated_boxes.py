"""Launches of rotated_boxes.cu; the functions and arguments of `cpu/rotated_boxes.py`."""

from arrayvision.cuda import nms as axis_aligned, runtime, suppress
from arrayvision.cuda.constants import constant
from arrayvision.cuda.runtime import empty
from arrayvision.cuda.types import FLOATS, as_accumulator, c_type

BLOCK, ROWS = (constant("rotated_boxes.cu", name) for name in ("BLOCK", "ROWS"))
_WIDTH = {"polygons::Rotated": 9, "polygons::Quad": 14}  # numbers in a shape
KERNELS = runtime.Kernels(
    "rotated_boxes.cu",
    [
        *suppress.ANY_BOXES,
        *(e for box in _WIDTH for e in suppress.expressions(FLOATS, box, "double")),
        *(f"shapes<{T}, {box}, double>" for box in _WIDTH for T in FLOATS),
        *(f"{kernel}<{T}, {box}>" for kernel in ("all_pairs", "aligned_pairs") for box in _WIDTH for T in FLOATS),
    ],
)


def _kind_of(boxes):
    return f"polygons::{'Rotated' if boxes.shape[1] == 5 else 'Quad'}"


def shapes_of(boxes, clockwise=True):
    """Boxes (N, 5) or quadrilaterals (N, 8) as rows of polygons.cuh, and which of the two they are."""
    box, n = _kind_of(boxes), len(boxes)
    shapes = empty(boxes, (n, _WIDTH[box]), "float64")
    KERNELS.launch(f"shapes<{c_type(boxes)}, {box}, double>", n, n, boxes, 1 if clockwise else -1, shapes)
    return shapes, box


def overlaps(first, second, foreground, aligned, clockwise, out):
    """Fill out with IoUs, or with intersections over the first one's area."""
    m, n, kind = len(first), len(second), c_type(first)
    (p, box), (q, _) = shapes_of(first, clockwise), shapes_of(second, clockwise)
    if aligned:
        KERNELS.launch(f"aligned_pairs<{kind}, {box}>", m, m, p, q, foreground, out)
    else:
        grid = -(-n // BLOCK), min(-(-m // ROWS), 65535)
        KERNELS.launch(f"all_pairs<{kind}, {box}>", grid, m, n, p, q, foreground, out, block=BLOCK)


def nms(boxes, scores, labels, threshold, clockwise, score_threshold, max_num):
    """Indices of the kept boxes (N, 5) or (N, 8) by falling score; arguments as `nms.nms`."""
    if len(boxes) == 0:
        return suppress.none(boxes)
    kind, box = c_type(boxes), _kind_of(boxes)
    threshold = float(as_accumulator(kind, threshold))
    single = kind != "double"
    return suppress.kept(
        KERNELS, boxes, box, _WIDTH[box], "double", scores, labels, threshold, 1 if clockwise else -1, single,
        score_threshold, max_num,
    )  # fmt: skip


take_rows = axis_aligned.take_rows
