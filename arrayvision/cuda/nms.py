"""Launches of nms.cu; the functions and arguments of `cpu/nms.py`."""

from arrayvision.cuda import runtime, suppress
from arrayvision.cuda.constants import constant
from arrayvision.cuda.runtime import argsort, empty, zeros
from arrayvision.cuda.types import DTYPES, FLOATS, accumulator, as_accumulator, c_type

_BOX = {kind: f"AxisAligned<{accumulator(kind)}>" for kind in FLOATS}
TILE = constant("axis_aligned.cuh", "AXIS_ALIGNED_TILE")
KERNELS = runtime.Kernels(
    "nms.cu",
    [
        *suppress.KEY_EXPRESSIONS,
        *suppress.expressions("AxisAligned<float>", "float"),
        "strike_tile<AxisAligned<double>, double>",
        "prepare<AxisAligned<double>, int64_t>",
        *(f"shapes<{T}, {_BOX[T]}, {accumulator(T)}>" for T in FLOATS),
        *(f"take_rows<{T}>" for T in FLOATS),
        "compose",
        "belong",
    ],
)


def _suppress(boxes, scores, labels, threshold, offset, score_threshold, max_num):
    kind, n = c_type(boxes), len(boxes)
    number = accumulator(kind)
    shapes = empty(boxes, (n, 5), DTYPES[number])
    KERNELS.launch(f"shapes<{kind}, {_BOX[kind]}, {number}>", n, n, boxes, offset, shapes)
    threshold = as_accumulator(kind, threshold)
    if score_threshold is not None:
        score_threshold = as_accumulator(kind, score_threshold)
    return suppress.ranked(
        KERNELS, shapes, _BOX[kind], number, TILE, scores, labels, threshold, offset, score_threshold, max_num
    )


def nms(boxes, scores, labels, threshold, offset, score_threshold, max_num):
    """Indices of the kept boxes by falling score. `score_threshold` None filters nothing; `max_num` -1 keeps all."""
    if len(boxes) == 0:
        return suppress.none(boxes)
    order, _, _, ranks, count = _suppress(boxes, scores, labels, threshold, offset, score_threshold, max_num)
    return suppress.kept(KERNELS, order, ranks, count)


def match(boxes, scores, threshold):
    """Groups of a kept box and those it suppressed, by score: (members of all groups in turn, each group's length)."""
    n = len(boxes)
    if n == 0:
        return suppress.none(boxes), suppress.none(boxes)
    order, owner, inside, _, _ = _suppress(boxes, scores, None, threshold, 0, None, -1)
    rank, counts = empty(boxes, (n,), "int64"), zeros(boxes, (n,), "int32")
    KERNELS.launch("belong", n, n, owner, inside, rank, counts)
    lengths = counts[counts > 0]
    size = int(lengths.sum())
    members = empty(boxes, (size,), "int64")
    KERNELS.launch("compose", size, size, order, argsort(rank), members)
    return members, lengths


def falling(scores):
    """Indices by falling score, NaN last."""
    n, kind = scores.shape[0], c_type(scores)
    key = suppress.key_of(kind)
    keys = empty(scores, (n,), DTYPES[key])
    KERNELS.launch(f"score_keys<{kind}, {key}>", n, n, scores, 0, False, keys)
    return argsort(keys)


def take_rows(boxes, scores, keep, dets, inds):
    """dets[k] = the box keep[k] and its score; inds[k] = keep[k]."""
    suppress.take_rows(KERNELS, boxes, scores, keep, dets, inds)
