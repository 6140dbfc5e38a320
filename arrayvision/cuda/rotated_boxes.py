"""Launches of rotated_boxes.cu; the functions and arguments of `cpu/rotated_boxes.py`."""

from arrayvision.cuda import nms as axis_aligned, runtime, suppress
from arrayvision.cuda.constants import constant
from arrayvision.cuda.types import FLOATS, as_accumulator, c_type

BLOCK, ROWS = (constant("rotated_boxes.cu", name) for name in ("BLOCK", "ROWS"))
MANY = 512  # blocks, of which each multiprocessor has some
MOST = 16 * MANY  # of more, each goes through several strips: its own boxes' sines are taken once
_NUMBERS = {"polygons::RotatedCandidate": 16, "polygons::QuadCandidate": 24}  # doubles in a candidate
_SHAPES = "polygons::Rotated", "polygons::Quad"
_NARROW = [T for T in FLOATS if T != "double"]  # results that need no more than Pairs
KERNELS = runtime.Kernels(
    "rotated_boxes.cu",
    [
        *suppress.ANY_BOXES,
        *(e for box in _NUMBERS for e in suppress.expressions(FLOATS, box, "double")),
        *(f"{kernel}<{T}, {shape}>" for kernel in ("all_pairs", "aligned_pairs") for shape in _SHAPES for T in FLOATS),
        *(f"all_pairs<{T}, {shape}Pairs>" for shape in _SHAPES for T in _NARROW),
    ],
)


def _shape_of(boxes):
    return f"polygons::{'Rotated' if boxes.shape[1] == 5 else 'Quad'}"


def overlaps(first, second, foreground, aligned, clockwise, out):
    """Fill out with IoUs, or with intersections over the first one's area."""
    m, n, kind = first.shape[0], second.shape[0], c_type(first)
    given = first, second, 1 if clockwise else -1, foreground, out
    if aligned:
        KERNELS.launch(f"aligned_pairs<{kind}, {_shape_of(first)}>", m, m, *given)
    else:
        blocks, strip = -(-n // BLOCK), ROWS
        while strip > 4 and blocks * -(-m // strip) < MANY:
            strip //= 2
        grid = blocks, min(-(-m // strip), max(1, MOST // max(blocks, 1)), 65535)
        numbers = "Pairs" if kind in _NARROW and runtime.slow_doubles(first) else ""
        KERNELS.launch(f"all_pairs<{kind}, {_shape_of(first)}{numbers}>", grid, m, n, strip, *given, block=BLOCK)


def _suppress(how, boxes, scores, labels, threshold, clockwise, score_threshold, max_num, *results):
    kind, box = c_type(boxes), f"{_shape_of(boxes)}Candidate"
    threshold = float(as_accumulator(kind, threshold))
    single = kind != "double"
    return how(
        KERNELS, boxes, box, _NUMBERS[box], "double", scores, labels, threshold, 1 if clockwise else -1, single,
        score_threshold, max_num, *results,
    )  # fmt: skip


def nms(boxes, scores, labels, threshold, clockwise, score_threshold, max_num):
    """Indices of the kept boxes (N, 5) or (N, 8) by falling score; arguments as `nms.nms`."""
    if len(boxes) == 0:
        return suppress.none(boxes)
    return _suppress(suppress.indices, boxes, scores, labels, threshold, clockwise, score_threshold, max_num)


def few(boxes) -> bool:
    """As `nms.few`."""
    return suppress.few(boxes, _NUMBERS[f"{_shape_of(boxes)}Candidate"], "double")


def detect(boxes, scores, labels, threshold, clockwise, score_threshold, max_num, dets, keep, count):
    """As `nms.detect`."""
    _suppress(suppress.kept, boxes, scores, labels, threshold, clockwise, score_threshold, max_num, keep, count)
    suppress.take_counted(axis_aligned.KERNELS, boxes, scores, keep, count, dets)


take_rows = axis_aligned.take_rows
