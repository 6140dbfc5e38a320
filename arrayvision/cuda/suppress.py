"""What the suppressions of all kinds of boxes share: order, bands, and the rows that are kept (see suppress.cuh)."""

from arrayvision.cuda.constants import WARP, constant
from arrayvision.cuda.runtime import argsort, empty, zeros
from arrayvision.cuda.types import DTYPES, FLOATS, accumulator, c_type

KEYS = {"float": "int", "double": "int64_t"}  # as wide as the scores
ALL = 2**62  # more boxes than there are
WORD, WARPS, BLOCK, CHUNK = (constant("suppress.cuh", name) for name in ("WORD", "WARPS", "BLOCK", "CHUNK"))
BAND = WORD * WARPS  # boxes that three launches take: a multiple of WORD


def key_of(kind: str) -> str:
    """The integers that scores of this type are sorted by."""
    return KEYS[accumulator(kind)]


def expressions(kinds, boxes, number):
    """The kernels of suppress.cuh for boxes of a kind ("polygons::Rotated"), of arrays of these types, computed in `number`."""
    prepare = [f"prepare<{T}, {boxes}, {key_of(T)}, {number}>" for T in kinds]
    return [*(f"{kernel}<{boxes}, {number}>" for kernel in ("find_overlaps", "strike_later")), *prepare]


ANY_BOXES = ["resolve_band", *(f"score_keys<{T}, {key_of(T)}>" for T in FLOATS)]  # a file needs them once


def ranked(kernels, boxes, box, numbers, number, scores, labels, threshold, sense, extra, score_threshold, max_num):
    """Suppress: (order, owner, the kept boxes by falling score, how many these are), as suppress.cuh has them.

    A box is so many `numbers` of the type `number`; `sense` is what reads it, `extra` what compares two.
    """
    n, kind = scores.shape[0], c_type(boxes)
    key, labelled = key_of(kind), labels is not None
    keys = empty(scores, (n,), DTYPES[key])
    kernels.launch(f"score_keys<{kind}, {key}>", n, n, scores, score_threshold or 0, score_threshold is not None, keys)
    order = argsort(keys)
    ordered, owner = empty(scores, (n, numbers), DTYPES[number]), empty(scores, (n,), "int32")
    sorted_labels = empty(scores, (n,), "int64") if labelled else order  # neither is read without labels
    args = n, boxes, sense, order, keys, labelled, labels if labelled else order, ordered, sorted_labels, owner
    kernels.launch(f"prepare<{kind}, {box}, {key}, {number}>", n, *args)
    most = ALL if max_num < 0 else max_num
    bands, size = -(-n // BAND), min(BAND, -(-n // WORD) * WORD)
    kept_before = zeros(scores, (bands + 1,), "int64")
    ranks, keep = empty(scores, (min(n, most),), "int32"), empty(scores, (min(n, most),), "int64")
    mask = empty(scores, (size // WORD, size), "int64")
    of_boxes = ordered, labelled, sorted_labels, threshold, extra, most
    for band in range(bands):
        here, later = min(size, n - band * size), n - (band + 1) * size
        words = -(-here // WORD)
        kernels.launch(
            f"find_overlaps<{box}, {number}>", (-(-here // BLOCK), words), n, band, size, *of_boxes, owner, kept_before, mask,
            block=BLOCK,
        )  # fmt: skip
        args = n, band, size, most, mask, order, owner, kept_before, ranks, keep
        kernels.launch("resolve_band", (1,), *args, block=words * WARP)
        if later > 0:
            kernels.launch(
                f"strike_later<{box}, {number}>", (-(-later // BLOCK), -(-here // CHUNK)), n, band, size, *of_boxes, kept_before,
                ranks, owner, block=BLOCK,
            )  # fmt: skip
    return order, owner, keep, int(kept_before[bands])


def take_rows(kernels, boxes, scores, keep, dets, inds):
    n, width = keep.shape[0], boxes.shape[1]
    kernels.launch(f"take_rows<{c_type(boxes)}>", n * (width + 1), n, width, boxes, scores, keep, dets, inds)


def none(like):
    """No indices."""
    return empty(like, (0,), "int64")
