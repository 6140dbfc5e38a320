"""What the suppressions of all kinds of boxes share: order, tiles, and the rows that are kept (see suppress.cuh)."""

from arrayvision.cuda.runtime import argsort, empty, zeros
from arrayvision.cuda.types import DTYPES, FLOATS, accumulator, c_type

KEYS = {"float": "int", "double": "int64_t"}  # as wide as the scores
ALL = 2**62  # more boxes than there are


def key_of(kind: str) -> str:
    """The integers that scores of this type are sorted by."""
    return KEYS[accumulator(kind)]


def expressions(boxes, number):
    """The kernels of suppress.cuh for boxes of a kind ("polygons::Rotated"), computed in `number` ("double")."""
    keys = ("int", "int64_t") if number == "double" else ("int",)
    return [f"strike_tile<{boxes}, {number}>", *(f"prepare<{boxes}, {key}>" for key in keys)]


KEY_EXPRESSIONS = [f"score_keys<{T}, {key_of(T)}>" for T in FLOATS]


def ranked(kernels, shapes, box, number, tile, scores, labels, threshold, extra, score_threshold, max_num):
    """Suppress: (order, owner, inside, ranks, how many are kept), as suppress.cuh has them."""
    n, kind = scores.shape[0], c_type(scores)
    key = key_of(kind)
    keys = empty(scores, (n,), DTYPES[key])
    kernels.launch(f"score_keys<{kind}, {key}>", n, n, scores, score_threshold or 0, score_threshold is not None, keys)
    order = argsort(keys)
    ordered, sorted_labels = empty(scores, shapes.shape, DTYPES[number]), empty(scores, (n,), "int64")
    owner, inside = empty(scores, (n,), "int32"), empty(scores, (n,), "int32")
    some_labels = order if labels is None else labels  # not read if there are none
    args = n, shapes, order, keys, labels is not None, some_labels, ordered, sorted_labels, owner, inside
    kernels.launch(f"prepare<{box}, {key}>", n, *args)
    tiles = -(-n // tile)
    kept_before, ranks = zeros(scores, (tiles + 1,), "int64"), empty(scores, (n,), "int64")
    most = ALL if max_num < 0 else max_num
    for t in range(tiles):
        blocks = max(1, min(-(-(n - (t + 1) * tile) // tile), 65535))
        args = n, t, ordered, sorted_labels, threshold, extra, most, owner, inside, kept_before, ranks
        kernels.launch(f"strike_tile<{box}, {number}>", (blocks,), *args, block=tile)
    return order, owner, inside, ranks, int(kept_before[tiles])


def kept(kernels, order, ranks, count):
    """The indices of the kept boxes."""
    keep = empty(order, (count,), "int64")
    kernels.launch("compose", count, count, order, ranks, keep)
    return keep


def take_rows(kernels, boxes, scores, keep, dets, inds):
    n, width = keep.shape[0], boxes.shape[1]
    kernels.launch(f"take_rows<{c_type(boxes)}>", n * (width + 1), n, width, boxes, scores, keep, dets, inds)


def none(like):
    """No indices."""
    return empty(like, (0,), "int64")
