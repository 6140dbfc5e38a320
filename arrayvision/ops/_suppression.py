"""What the suppressions of all kinds of boxes share: checks, reading, and the results' allocation."""

from arrayvision import check
from arrayvision.array import arrays, replay


def scored(name, width, boxes, scores, labels, argument="boxes", label_argument="idxs"):
    """Check boxes, their scores and labels (or None), and read them: (`Arrays`, the dtype to compute in, and the three)."""
    at = arrays(name, **{argument: boxes, "scores": scores, label_argument: labels})
    at.sizes(**{argument: f"N {width}", "scores": "N", label_argument: "N?"})
    if labels is not None:
        labels = at.integers(**{label_argument: labels})
    dtype = at.floats(**{argument: boxes, "scores": scores})
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
    numbers = name, module, width, iou_threshold, extra, score_threshold, max_num, argument, label_argument
    dets, inds, count = replay(_suppress, (boxes, scores, labels), *numbers)
    if count is None:
        return dets, inds
    kept = count.item()
    return dets[:kept], inds[:kept]


def _suppress(
    boxes, scores, labels, name, module, width, iou_threshold, extra, score_threshold, max_num, argument, label_argument
):
    """The same; of few boxes on a GPU with room for all, and how many they are, for which nobody has waited."""
    at, dtype, boxes, scores, labels = scored(name, width, boxes, scores, labels, argument, label_argument)
    how = labels, check.number(name, "iou_threshold", iou_threshold, 0, 1), extra, score_threshold, max_num
    kernels, n = at.kernels(module), len(boxes)
    if at.backend == "cpu" or n == 0 or not at.library.views or not kernels.few(boxes):
        return *gather(at, dtype, kernels.take_rows, boxes, scores, kernels.nms(boxes, scores, *how)), None
    most = n if max_num < 0 else min(n, max_num)
    dets, inds = at.empty((most, width + 1), dtype, exact=True), at.empty((most,), "int64")
    count = at.empty((), "int64")
    kernels.detect(boxes, scores, *how, dets.view, inds.view, count.view)
    return dets.result(), inds.result(), count.result()


def gather(at, dtype, take, boxes, scores, keep):
    """The rows that `keep` names, with their scores as last column, and `keep` itself, in the caller's library."""
    dets, inds = at.empty((keep.shape[0], boxes.shape[1] + 1), dtype, exact=True), at.empty((keep.shape[0],), "int64")
    take(boxes, scores, keep, dets.view, inds.view)
    return dets.result(), inds.result()
