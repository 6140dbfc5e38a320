"""Soft non-maximum suppression: what overlaps a better box loses score instead of going."""

from __future__ import annotations

from arrayvision import check
from arrayvision.ops._suppression import gather, scored
from arrayvision.typing import Array


@check.renamed(iou_thr="iou_threshold")
def soft_nms(
    boxes: Array,
    scores: Array,
    iou_threshold: float = 0.3,
    sigma: float = 0.5,
    min_score: float = 1e-3,
    method: str = "linear",
    offset: int = 0,
) -> tuple[Array, Array]:
    """Soft non-maximum suppression: overlapping boxes lose score instead of going.

    The box with the best score is picked; each other box's score is multiplied by what its IoU with the picked one
    leaves of it; those that fall below `min_score` go; and so on.

    Parameters
    ----------
    boxes : array (N, 4)
        Boxes (x1, y1, x2, y2) in any unit.
    scores : array (N,)
        Their scores. A NaN score is never kept.
    iou_threshold : float
        IoUs up to this leave a score as it is ("naive" and "linear").
    sigma : float
        Of "gaussian"; greater than 0.
    min_score : float
        Boxes with less are dropped.
    method : {"naive", "linear", "gaussian"}
        A score is multiplied by 0 ("naive") or 1 - IoU ("linear") where the IoU is greater than `iou_threshold`, or by
        exp(-IoU**2 / sigma) ("gaussian").
    offset : {0, 1}
        Added to widths and heights: 1 where x2 and y2 are the last pixel inside.

    Returns
    -------
    dets : array (K, 5)
        The boxes with their decayed scores, in the order in which they were picked; ties by position.
    inds : array (K,)
        Their int64 positions in the input (int32 in JAX without x64).

    Raises
    ------
    TypeError
        If something is no array, of another library or device, or of a wrong dtype.
    ValueError
        If a shape, `method` or `offset` is wrong, lengths differ, or a number is NaN or out of range.

    Notes
    -----
    N. Bodla et al., "Soft-NMS: Improving Object Detection With One Line of Code", 2017. A box with a NaN or infinite
    corner, or of no or negative width or height (offset included), neither lowers a score nor loses its own.

    Examples
    --------
    >>> import numpy as np
    >>> boxes = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30]])
    >>> dets, inds = soft_nms(boxes, np.array([0.6, 0.9, 0.3]))
    >>> inds
    array([1, 2, 0])
    """
    return soften("soft_nms", boxes, scores, None, -1, iou_threshold, sigma, min_score, method, offset)


def soften(name, boxes, scores, idxs, max_num, iou_threshold=0.3, sigma=0.5, min_score=1e-3, method="linear", offset=0):
    """Check, suppress and gather, within classes if there are `idxs`; `max_num` boxes at most, if it is positive."""
    at, dtype, boxes, scores, idxs = scored(name, 4, boxes, scores, idxs)
    check.choice(name, "offset", offset, (0, 1))
    check.choice(name, "method", method, ("naive", "linear", "gaussian"))
    iou_threshold = check.number(name, "iou_threshold", iou_threshold, 0, 1)
    sigma = check.number(name, "sigma", sigma, above=0)
    min_score = check.number(name, "min_score", min_score)
    kernels = at.kernels("soft_nms")
    keep, decayed = kernels.soft_nms(boxes, scores, idxs, iou_threshold, sigma, min_score, method, int(offset))
    if max_num > 0:
        keep, decayed = keep[:max_num], decayed[:max_num]
    return gather(at, dtype, kernels.take_picked, boxes, decayed, keep)
