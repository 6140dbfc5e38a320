"""Launches of nms.cu; the functions and arguments of `cpu/nms.py`."""

from arrayvision.cuda import runtime, suppress
from arrayvision.cuda.runtime import argsort, empty, zeros
from arrayvision.cuda.types import DTYPES, FLOATS, accumulator, as_accumulator, c_type

BOX = {kind: f"AxisAligned<{accumulator(kind)}>" for kind in FLOATS}
NUMBERS = {"float": 8, "double": 6}  # of a box: corners, area, and what makes it a multiple of 16 bytes
KERNELS = runtime.Kernels(
    "nms.cu",
    [
        *suppress.ANY_BOXES,
        *suppress.expressions([kind for kind in FLOATS if kind != "double"], BOX["float"], "float"),
        *suppress.expressions(["double"], BOX["double"], "double"),
        *(f"take_rows<{T}>" for T in FLOATS),
        "compose",
        "belong",
    ],
)


def _suppress(how, boxes, scores, labels, threshold, offset, score_threshold, max_num):
    kind = c_type(boxes)
    number = accumulator(kind)
    threshold = as_accumulator(kind, threshold)
    if score_threshold is not None:
        score_threshold = as_accumulator(kind, score_threshold)
    return how(
        KERNELS, boxes, BOX[kind], NUMBERS[number], number, scores, labels, threshold, offset, offset, score_threshold, max_num
    )  # fmt: skip


def nms(boxes, scores, labels, threshold, offset, score_threshold, max_num):
    """Indices of the kept boxes by falling score. `score_threshold` None filters nothing; `max_num` -1 keeps all."""
    if len(boxes) == 0:
        return suppress.none(boxes)
    return _suppress(suppress.kept, boxes, scores, labels, threshold, offset, score_threshold, max_num)


def match(boxes, scores, threshold):
    """Groups of a kept box and those it suppressed, by score: (members of all groups in turn, each group's length)."""
    n = len(boxes)
    if n == 0:
        return suppress.none(boxes), suppress.none(boxes)
    order, owner, _, _ = _suppress(suppress.ranked, boxes, scores, None, threshold, 0, None, -1)
    rank, counts = empty(boxes, (n,), "int64"), zeros(boxes, (n,), "int32")
    KERNELS.launch("belong", n, n, owner, rank, counts)
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
