"""What the suppressions of all kinds of boxes share: order, bands, and the rows that are kept (see suppress.cuh)."""

import numpy as np

from arrayvision.cuda.constants import WARP, constant
from arrayvision.cuda.runtime import argsort, empty, parts
from arrayvision.cuda.types import DTYPES, FLOATS, accumulator, c_type

KEYS = {"float": "int", "double": "int64_t"}  # as wide as the scores
ALL = 2**62  # more boxes than there are
WORD, WARPS, BLOCK, CHUNK = (constant("suppress.cuh", name) for name in ("WORD", "WARPS", "BLOCK", "CHUNK"))
BAND = WORD * WARPS  # boxes that three launches take: a multiple of WORD
FEW, LARGE, LARGE_FEW, FEW_THREADS, SORTED, SORTERS = (
    constant("suppress.cuh", name) for name in ("FEW", "LARGE", "LARGE_FEW", "FEW_THREADS", "SORTED", "SORTERS")
)


def key_of(kind: str) -> str:
    """The integers that scores of this type are sorted by."""
    return KEYS[accumulator(kind)]


def expressions(kinds, boxes, number):
    """The kernels of suppress.cuh for boxes of a kind ("polygons::Rotated"), of arrays of these types, computed in `number`."""
    return [
        *(f"{kernel}<{boxes}, {number}>" for kernel in ("find_overlaps", "strike_later")),
        *(f"{kernel}<{T}, {boxes}, {key_of(T)}, {number}>" for kernel in ("prepare", "suppress_few") for T in kinds),
        *(f"rank_few<{T}, {boxes}, {number}>" for T in kinds if key_of(T) == "int"),
    ]


ANY_BOXES = ["resolve_band", *(f"score_keys<{T}, {key_of(T)}>" for T in FLOATS)]  # a file needs them once


def few(boxes, numbers, number) -> bool:
    """Whether so many boxes, of so many `numbers` of a type, are done by launches that need no other library's sort."""
    return len(boxes) <= (SORTED if key_of(c_type(boxes)) == "int" else _at_once(numbers, number))


def _at_once(numbers, number):
    """How many boxes one block does."""
    return LARGE_FEW if numbers * np.dtype(DTYPES[number]).itemsize > LARGE else FEW


def kept(
    kernels, boxes, box, numbers, number, scores, labels, threshold, sense, extra, score_threshold, max_num, keep, count
):
    """Fill keep (at most N, or `max_num`) with the indices of the kept boxes by falling score, and count (0 axes) with how many these
    are; other arguments as `ranked`."""
    n, kind, labelled = scores.shape[0], c_type(boxes), labels is not None
    if n > _at_once(numbers, number):
        _rank(
            kernels, boxes, box, numbers, number, scores, labels, threshold, sense, extra, score_threshold, max_num, keep, count
        )  # fmt: skip
        return
    filtered = score_threshold is not None
    kernels.launch(
        f"suppress_few<{kind}, {box}, {key_of(kind)}, {number}>", (1,), n, boxes, sense, scores, score_threshold or 0, filtered,
        labelled, labels if labelled else keep, threshold, extra, _most(max_num), keep, count,
        block=FEW_THREADS,
    )  # fmt: skip


def _most(max_num):
    return ALL if max_num < 0 else max_num


def indices(kernels, boxes, box, numbers, number, scores, labels, threshold, sense, extra, score_threshold, max_num):
    """The indices of the kept boxes by falling score; arguments as `ranked`."""
    keep, count = _room(scores, max_num)
    kept(
        kernels, boxes, box, numbers, number, scores, labels, threshold, sense, extra, score_threshold, max_num, keep, count
    )  # fmt: skip
    return keep[: count.item()]


def _room(scores, max_num):
    return empty(scores, (min(scores.shape[0], _most(max_num)),), "int64"), empty(scores, (), "int64")


def ranked(kernels, boxes, box, numbers, number, scores, labels, threshold, sense, extra, score_threshold, max_num):
    """Suppress: (order, owner, the kept boxes by falling score, how many these are), as suppress.cuh has them.

    A box is so many `numbers` of the type `number`; `sense` is what reads it, `extra` what compares two. Order and owner may be
    parts of memory that only launches take.
    """
    keep, count = _room(scores, max_num)
    order, owner = _rank(
        kernels, boxes, box, numbers, number, scores, labels, threshold, sense, extra, score_threshold, max_num, keep, count
    )  # fmt: skip
    return order, owner, keep, count.item()


def _rank(
    kernels, boxes, box, numbers, number, scores, labels, threshold, sense, extra, score_threshold, max_num, keep, total
):
    """Order and owner; keep and total are filled."""
    n, kind = scores.shape[0], c_type(boxes)
    key, labelled = key_of(kind), labels is not None
    most = _most(max_num)
    bands, size = -(-n // BAND), min(BAND, -(-n // WORD) * WORD)
    short = n <= SORTED and key == "int"
    ordered, owner, ranks, kept_before, mask, sorted_labels, order = parts(
        scores,
        ((n, numbers), DTYPES[number]),
        ((n,), "int32"),
        ((min(n, most),), "int32"),
        ((bands + 1,), "int64"),
        ((size // WORD, size), "int64"),
        ((n if labelled else 1,), "int64"),
        ((n if short else 1,), "int64"),
    )
    least, filtered = score_threshold or 0, score_threshold is not None
    if short:
        kernels.launch(
            f"rank_few<{kind}, {box}, {number}>", (1,), n, boxes, sense, scores, least, filtered, labelled,
            labels if labelled else keep, order, ordered, sorted_labels, owner, kept_before, block=SORTERS,
        )  # fmt: skip
    else:
        keys = empty(scores, (n,), DTYPES[key])
        kernels.launch(f"score_keys<{kind}, {key}>", n, n, scores, least, filtered, keys)
        order = argsort(keys)
        args = n, boxes, sense, order, keys, labelled, labels if labelled else order, ordered, sorted_labels, owner
        kernels.launch(f"prepare<{kind}, {box}, {key}, {number}>", n, *args, kept_before)
    of_boxes = ordered, labelled, sorted_labels, threshold, extra, most
    for band in range(bands):
        here, later = min(size, n - band * size), n - (band + 1) * size
        words = -(-here // WORD)
        kernels.launch(
            f"find_overlaps<{box}, {number}>", (-(-here // BLOCK), words), n, band, size, *of_boxes, owner, kept_before, mask,
            block=BLOCK,
        )  # fmt: skip
        args = n, band, size, most, mask, order, owner, kept_before, ranks, keep, total
        kernels.launch("resolve_band", (1,), *args, block=words * WARP)
        if later > 0:
            kernels.launch(
                f"strike_later<{box}, {number}>", (-(-later // BLOCK), -(-here // CHUNK)), n, band, size, *of_boxes, kept_before,
                ranks, owner, block=BLOCK,
            )  # fmt: skip
    return order, owner


def take_rows(kernels, boxes, scores, keep, dets, inds):
    n, width = keep.shape[0], boxes.shape[1]
    kernels.launch(f"take_rows<{c_type(boxes)}>", n * (width + 1), n, width, boxes, scores, keep, dets, inds)


def take_counted(kernels, boxes, scores, keep, count, dets):
    """dets[k] = the box keep[k] and its score, of the first `count`, which is on the GPU."""
    n, width = keep.shape[0], boxes.shape[1]
    args = n, width, boxes, scores, keep, count, dets
    kernels.launch(f"take_counted<{c_type(boxes)}>", n * (width + 1), *args)


def none(like):
    """No indices."""
    return empty(like, (0,), "int64")
