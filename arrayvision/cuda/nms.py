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
        *(f"{kernel}<{T}>" for kernel in ("take_rows", "take_counted") for T in FLOATS),
        "compose",
        "belong",
    ],
)


def _suppress(how, boxes, scores, labels, threshold, offset, score_threshold, max_num, *results):
    kind = c_type(boxes)
    number = accumulator(kind)
    threshold = as_accumulator(kind, threshold)
    if score_threshold is not None:
        score_threshold = as_accumulator(kind, score_threshold)
    return how(
        KERNELS, boxes, BOX[kind], NUMBERS[number], number, scores, labels, threshold, offset, offset, score_threshold, max_num,
        *results,
    )  # fmt: skip


def nms(boxes, scores, labels, threshold, offset, score_threshold, max_num):
    """Indices of the kept boxes by falling score. `score_threshold` None filters nothing; `max_num` -1 keeps all."""
    if len(boxes) == 0:
        return suppress.none(boxes)
    return _suppress(suppress.indices, boxes, scores, labels, threshold, offset, score_threshold, max_num)


def few(boxes) -> bool:
    """Whether `detect` takes so many."""
    number = accumulator(c_type(boxes))
    return suppress.few(boxes, NUMBERS[number], number)


def detect(boxes, scores, labels, threshold, offset, score_threshold, max_num, dets, keep, count):
    """Fill keep with the indices of the kept boxes by falling score, dets with their rows, and count, of no axes, with how many
    they are, without waiting for it; other arguments as `nms`. There are boxes, but few."""
    _suppress(suppress.kept, boxes, scores, labels, threshold, offset, score_threshold, max_num, keep, count)
    suppress.take_counted(KERNELS, boxes, scores, keep, count, dets)


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
