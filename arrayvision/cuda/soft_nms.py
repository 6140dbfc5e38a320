"""Launches of soft_nms.cu; the functions and arguments of `cpu/soft_nms.py`."""

from arrayvision.cuda import runtime
from arrayvision.cuda.constants import WARP, constant
from arrayvision.cuda.nms import NUMBERS
from arrayvision.cuda.runtime import empty, zeros
from arrayvision.cuda.types import DTYPES, FLOATS, accumulator, as_accumulator, c_type

BLOCK = constant("soft_nms.cu", "BLOCK")
HELD = {T: 2 if accumulator(T) == "double" else 4 for T in FLOATS}  # boxes of a thread that registers have room for
KERNELS = runtime.Kernels(
    "soft_nms.cu",
    [*(f"soften<{T}, {per}>" for T in FLOATS for per in (0, 1, HELD[T])), *(f"take_picked<{T}>" for T in FLOATS)],
)


def soft_nms(boxes, scores, labels, threshold, sigma, min_score, method, offset):
    """Indices in the order of picking, and the scores they had then."""
    kind, n = c_type(boxes), len(boxes)
    number = DTYPES[accumulator(kind)]
    keep, decayed, count = empty(boxes, (n,), "int64"), empty(boxes, (n,), number), zeros(boxes, (1,), "int64")
    if n == 0:
        return keep, decayed
    # A warp's boxes are compared faster than warps are waited for.
    per = 1 if n <= 4 * WARP else HELD[kind] if n <= BLOCK * HELD[kind] else 0
    room = n if per == 0 else 1
    shapes, left = empty(boxes, (room, NUMBERS[accumulator(kind)]), number), empty(boxes, (room,), number)
    lowest = -3.4028234663852886e38 if number == "float32" else -1.7976931348623157e308  # -infinity marks those picked
    args = as_accumulator(kind, threshold), as_accumulator(kind, sigma), as_accumulator(kind, max(min_score, lowest))
    how = ("naive", "linear", "gaussian").index(method)
    some_labels = keep if labels is None else labels  # not read if there are none
    block = min(BLOCK, -(-n // (WARP * max(per, 1))) * WARP)
    KERNELS.launch(
        f"soften<{kind}, {per}>", (1,), n, boxes, scores, labels is not None, some_labels, *args, how, offset,
        shapes, left, keep, decayed, count, block=block,
    )  # fmt: skip
    picked = int(count[0])
    return keep[:picked], decayed[:picked]


def take_picked(boxes, picked_scores, keep, dets, inds):
    """dets[k] = the box keep[k] and its picked score; inds[k] = keep[k]."""
    n, width = keep.shape[0], boxes.shape[1]
    KERNELS.launch(f"take_picked<{c_type(boxes)}>", n, n, width, boxes, picked_scores, keep, dets, inds)
