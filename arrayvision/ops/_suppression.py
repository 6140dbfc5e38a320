"""What the suppressions of all kinds of boxes share: checks, reading, and the results' allocation."""

from arrayvision import check
from arrayvision.array import place


def scored(name, width, boxes, scores, labels, argument="boxes", label_argument="idxs"):
    """Check boxes, their scores and labels (or None), and read them: (place, the result's dtype, and the three)."""
    at = place(name, **{argument: boxes, "scores": scores, label_argument: labels})
    check.shape(name, argument, boxes, "N", width)
    check.shape(name, "scores", scores, "N")
    check.same_length(name, "scores", scores, argument, boxes)
    if labels is not None:
        check.shape(name, label_argument, labels, "N")
        check.same_length(name, label_argument, labels, argument, boxes)
        labels = at.read(labels, at.integers(name, label_argument, labels))
    dtype = at.floats(name, **{argument: boxes, "scores": scores})
    return at, dtype, at.read(boxes, dtype), at.read(scores, dtype), labels


def suppress(
    name,
    module,
    width,
    boxes,
    scores,
    labels,
    iou_threshold,
    extra,
    score_threshold=None,
    max_num=-1,
    argument="dets",
    label_argument="labels",
):
    """Check, call ``kernels(module).nms`` and gather: (kept boxes with their scores, their indices)."""
    at, dtype, boxes, scores, labels = scored(name, width, boxes, scores, labels, argument, label_argument)
    iou_threshold = check.number(name, "iou_threshold", iou_threshold, 0)
    kernels = at.kernels(module)
    keep = kernels.nms(boxes, scores, labels, iou_threshold, extra, score_threshold, max_num)
    return gather(at, dtype, kernels.take_rows, boxes, scores, keep)


def gather(at, dtype, take, boxes, scores, keep):
    """The rows that `keep` names, with their scores as last column, and `keep` itself, in the caller's library."""
    dets, inds = at.empty((keep.shape[0], boxes.shape[1] + 1), dtype), at.empty((keep.shape[0],), "int64")
    take(boxes, scores, keep, dets.view, inds.view)
    return dets.give(), inds.give()
