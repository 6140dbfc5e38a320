"""Launches of rotated_boxes.cu; the functions and arguments of `cpu/rotated_boxes.py`."""

from arrayvision.cuda import nms as axis_aligned, runtime, suppress
from arrayvision.cuda.constants import constant
from arrayvision.cuda.types import FLOATS, as_accumulator, c_type

BLOCK, ROWS = (constant("rotated_boxes.cu", name) for name in ("BLOCK", "ROWS"))
MANY = 512  # blocks, of which each multiprocessor has some
_WIDTH = {"polygons::Rotated": 9, "polygons::Quad": 14}  # numbers in a shape
KERNELS = runtime.Kernels(
    "rotated_boxes.cu",
    [
        *suppress.ANY_BOXES,
        *(e for box in _WIDTH for e in suppress.expressions(FLOATS, box, "double")),
        *(f"{kernel}<{T}, {box}>" for kernel in ("all_pairs", "aligned_pairs") for box in _WIDTH for T in FLOATS),
    ],
)


def _kind_of(boxes):
    return f"polygons::{'Rotated' if boxes.shape[1] == 5 else 'Quad'}"


def overlaps(first, second, foreground, aligned, clockwise, out):
    """Fill out with IoUs, or with intersections over the first one's area."""
    m, n, kernel = first.shape[0], second.shape[0], f"pairs<{c_type(first)}, {_kind_of(first)}>"
    given = first, second, 1 if clockwise else -1, foreground, out
    if aligned:
        KERNELS.launch(f"aligned_{kernel}", m, m, *given)
    else:
        blocks, strip = -(-n // BLOCK), ROWS
        while strip > 4 and blocks * -(-m // strip) < MANY:
            strip //= 2
        KERNELS.launch(f"all_{kernel}", (blocks, min(-(-m // strip), 65535)), m, n, strip, *given, block=BLOCK)


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
