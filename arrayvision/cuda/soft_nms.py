"""Launches of soft_nms.cu; the functions and arguments of `cpu/soft_nms.py`."""

from arrayvision.cuda import runtime
from arrayvision.cuda.nms import NUMBERS
from arrayvision.cuda.runtime import empty, zeros
from arrayvision.cuda.types import DTYPES, FLOATS, accumulator, as_accumulator, c_type

KERNELS = runtime.Kernels("soft_nms.cu", [f"{kernel}<{T}>" for kernel in ("soften", "take_picked") for T in FLOATS])


def soft_nms(boxes, scores, labels, threshold, sigma, min_score, method, offset):
    """Indices in the order of picking, and the scores they had then."""
    kind, n = c_type(boxes), len(boxes)
    number = DTYPES[accumulator(kind)]
    keep, decayed, count = empty(boxes, (n,), "int64"), empty(boxes, (n,), number), zeros(boxes, (1,), "int64")
    if n == 0:
        return keep, decayed
    shapes, left = empty(boxes, (n, NUMBERS[accumulator(kind)]), number), empty(boxes, (n,), number)
    lowest = -3.4028234663852886e38 if number == "float32" else -1.7976931348623157e308  # -infinity marks those picked
    args = as_accumulator(kind, threshold), as_accumulator(kind, sigma), as_accumulator(kind, max(min_score, lowest))
    how = ("naive", "linear", "gaussian").index(method)
    some_labels = keep if labels is None else labels  # not read if there are none
    block = min(1024, -(-n // 32) * 32)
    KERNELS.launch(
        f"soften<{kind}>", (1,), n, boxes, scores, labels is not None, some_labels, *args, how, offset,
        shapes, left, keep, decayed, count, block=block,
    )  # fmt: skip
    picked = int(count[0])
    return keep[:picked], decayed[:picked]


def take_picked(boxes, picked_scores, keep, dets, inds):
    """dets[k] = the box keep[k] and its picked score; inds[k] = keep[k]."""
    n, width = keep.shape[0], boxes.shape[1]
    KERNELS.launch(f"take_picked<{c_type(boxes)}>", n * (width + 1), n, width, boxes, picked_scores, keep, dets, inds)
