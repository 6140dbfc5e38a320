"""Non-maximum suppression of axis-aligned boxes, and of boxes of any kind in classes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from arrayvision import check
from arrayvision.array import _kernels, arrays, plain
from arrayvision.ops._suppression import gather, suppress
from arrayvision.ops.soft_nms import soften
from arrayvision.typing import Array


@check.renamed(iou_thr="iou_threshold")
def nms(
    boxes: Array,
    scores: Array,
    iou_threshold: float,
    offset: int = 0,
    score_threshold: float = 0,
    max_num: int = -1,
) -> tuple[Array, Array]:
    """Non-maximum suppression: of boxes that overlap too much, keep the one with the best score.

    Parameters
    ----------
    boxes : array (N, 4)
        Boxes (x1, y1, x2, y2) in any unit; any real dtype, integers count as floats.
    scores : array (N,)
        Their scores. A NaN score is never kept.
    iou_threshold : float
        A box goes if its IoU with a kept one is greater. Cast to the boxes' dtype.
    offset : {0, 1}
        Added to widths and heights: 1 where x2 and y2 are the last pixel inside.
    score_threshold : float
        Only scores greater than this take part; 0 (and anything below) filters nothing.
    max_num : int
        Stop at this many kept boxes; -1 (or 0) keeps all.

    Returns
    -------
    dets : array (K, 5)
        The kept boxes and their scores, by falling score; ties by position. In the promoted float dtype.
    inds : array (K,)
        Their int64 positions in the input (int32 in JAX without x64).

    Raises
    ------
    TypeError
        If something is no array, of another library or device, or of a wrong dtype.
    ValueError
        If a shape, `offset` or `max_num` is wrong, lengths differ, a threshold is NaN, or `iou_threshold` not within [0, 1] (a percentage, say).

    Notes
    -----
    A box with a NaN or infinite corner, or of no or negative width or height (offset included), suppresses nothing and
    is suppressed by nothing. Greedy suppression as in P. Felzenszwalb et al., "Object Detection with Discriminatively
    Trained Part-Based Models", 2010. On the CPU its cost follows the number of overlapping pairs, not N squared.

    Examples
    --------
    >>> import numpy as np
    >>> boxes = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30]])
    >>> dets, inds = nms(boxes, np.array([0.6, 0.9, 0.3]), iou_threshold=0.5)
    >>> inds
    array([1, 2])
    """
    usual = plain(boxes, scores)
    if usual is not None:
        found = _small(usual, iou_threshold, offset, score_threshold, max_num)
        if found is not None:
            return found
    check.choice("nms", "offset", offset, (0, 1))
    score_threshold, max_num = _limits("nms", score_threshold, max_num)
    return suppress("nms", "nms", 4, boxes, scores, None, iou_threshold, int(offset), score_threshold, max_num, "boxes")


def _small(usual, iou_threshold, offset, score_threshold, max_num):
    """`nms` of few boxes without the checks that these need not; None where there is something to check, or more to do."""
    boxes, scores, give = usual
    if (
        boxes.ndim == 2
        and scores.ndim == 1
        and boxes.shape[1] == 4
        and boxes.shape[0] == scores.shape[0]
        and type(iou_threshold) is float
        and 0 <= iou_threshold <= 1
        and type(offset) is int
        and 0 <= offset <= 1
        and type(score_threshold) in (int, float)
        and score_threshold <= 0
        and type(max_num) is int
        and -1 <= max_num < 2**31
    ):
        kernels = _kernels("cpu", "nms")
        if boxes.shape[0] < kernels.FEW:
            keep = kernels.nms(boxes, scores, None, iou_threshold, offset, None, max_num or -1)
            dets, inds = np.empty((keep.shape[0], 5), np.float32), np.empty(keep.shape[0], np.int64)
            kernels.take_rows(boxes, scores, keep, dets, inds)
            return give(dets), give(inds)
    return None


def _limits(name, score_threshold, max_num):
    score_threshold = check.number(name, "score_threshold", score_threshold)
    max_num = check.integer(name, "max_num", max_num, -1)
    return score_threshold if score_threshold > 0 else None, max_num or -1


def nms_match(dets: Array, iou_threshold: float) -> list[Array]:
    """Non-maximum suppression that tells which box suppressed which.

    Parameters
    ----------
    dets : array (N, 5)
        Boxes (x1, y1, x2, y2) and their scores.
    iou_threshold : float
        A box goes if its IoU with a kept one is greater.

    Returns
    -------
    list of arrays (K_i,)
        For each kept box, by falling score: its int64 position, then those of the boxes that it suppressed, by falling
        score. A box suppressed by several belongs to the one with the best score; a NaN score to none.

    Raises
    ------
    TypeError
        If dets is no array or holds no real numbers.
    ValueError
        If its shape is wrong, or the threshold is not within [0, 1].

    Notes
    -----
    As used by K. Chen et al., "Prime Sample Attention in Object Detection", 2020.

    Examples
    --------
    >>> import numpy as np
    >>> nms_match(np.array([[0, 0, 10, 10, 0.6], [1, 1, 11, 11, 0.9], [20, 20, 30, 30, 0.3]]), 0.5)
    [array([1, 0]), array([2])]
    """
    name = "nms_match"
    at = arrays(name, dets=dets)
    if dets.shape == (0,):  # as np.array([]) has it
        return []
    at.sizes(dets="N 5")
    iou_threshold = check.number(name, "iou_threshold", iou_threshold, 0, 1)
    dtype = at.floats(dets=dets)
    boxes, scores = at.read(dets[:, :4], dtype), at.read(dets[:, 4], dtype)
    members, lengths = at.kernels("nms").match(boxes, scores, iou_threshold)
    out = at.empty((len(members),), "int64")
    out.view[...] = members
    members, groups, start = out.result(), [], 0
    for length in lengths.tolist():
        groups.append(members[start : start + length])
        start += length
    return groups


_OLDER = {"iou_thr": "iou_threshold"}
_KINDS = {  # a type's columns and arguments
    "nms": (4, ("iou_threshold", "offset", "score_threshold")),
    "soft_nms": (4, ("iou_threshold", "sigma", "min_score", "method", "offset")),
    "nms_rotated": (5, ("iou_threshold", "clockwise")),
    "nms_quadri": (8, ("iou_threshold",)),
}


def batched_nms(
    boxes: Array,
    scores: Array,
    idxs: Array | None,
    nms_cfg: Mapping | None,
    class_agnostic: bool = False,
) -> tuple[Array, Array]:
    """Non-maximum suppression within classes (or images, or both: any integers that tell boxes apart).

    Parameters
    ----------
    boxes : array (N, 4), (N, 5) or (N, 8)
        Boxes as the chosen suppression takes them.
    scores : array (N,)
        Their scores. A NaN score is never kept.
    idxs : array (N,)
        Each box's class; boxes of different classes don't suppress each other. For a batch of images, image * classes +
        class makes it one call. May be None if `class_agnostic`.
    nms_cfg : mapping or None
        `type`, one of "nms" (default), "soft_nms", "nms_rotated", "nms_quadri"; that function's arguments; and

        - `class_agnostic`: takes the place of the argument below;
        - `max_num`: the most boxes to return, -1 for all;
        - `split_thr`: accepted, changes no result.

        None suppresses nothing: everything is returned, by falling score, NaN last.
    class_agnostic : bool
        Suppress across classes.

    Returns
    -------
    dets : array (K, 5), (K, 6) or (K, 9)
        The kept boxes and their scores (decayed ones for "soft_nms"), by falling score; ties by position.
    inds : array (K,)
        Their int64 positions in the input (int32 in JAX without x64).

    Raises
    ------
    TypeError
        If something is no array, of another library or device, of a wrong dtype, or `nms_cfg` has an unknown key.
    ValueError
        If the type is unknown, a shape or number is wrong, or lengths differ.

    Notes
    -----
    Classes are told apart by their labels, not by shifting their boxes apart, which loses precision at large
    coordinates and fails at negative ones.

    Examples
    --------
    >>> import numpy as np
    >>> boxes = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [0, 0, 10, 10]])
    >>> dets, inds = batched_nms(boxes, np.array([0.6, 0.9, 0.3]), np.array([0, 0, 1]), dict(type="nms", iou_threshold=0.5))
    >>> inds
    array([1, 2])
    """
    name = "batched_nms"
    if nms_cfg is None:
        return _sorted(boxes, scores, idxs)
    if not isinstance(nms_cfg, Mapping):
        raise TypeError(f"{name}: nms_cfg must be a mapping or None, got {type(nms_cfg).__name__}")
    cfg = dict(nms_cfg)
    check.take_older(name, cfg, _OLDER)
    kind = check.choice(name, "nms_cfg['type']", cfg.pop("type", "nms"), tuple(_KINDS))
    width, arguments = _KINDS[kind]
    agnostic = check.flag(name, "class_agnostic", cfg.pop("class_agnostic", class_agnostic))
    cfg.pop("split_thr", None)
    max_num = check.integer(name, "nms_cfg['max_num']", cfg.pop("max_num", -1), -1) or -1
    unknown = sorted(map(str, set(cfg) - set(arguments)))
    if unknown:
        known = ", ".join(("type", *arguments, "class_agnostic", "max_num", "split_thr"))
        raise TypeError(
            f"{name}: nms_cfg has no {', '.join(unknown)} for type {kind!r}{check.nearest(unknown[0], known.split(', '))}; "
            f"it takes {known}"
        )
    if kind != "soft_nms" and "iou_threshold" not in cfg:
        raise TypeError(f"{name}: nms_cfg lacks iou_threshold")
    if idxs is None and not agnostic:
        raise TypeError(f"{name}: idxs must be an array unless class_agnostic, got None")
    if agnostic and idxs is not None:  # still no reason to take nonsense
        arrays(name, boxes=boxes, idxs=idxs).sizes(boxes="N columns", idxs="N")
    labels = None if agnostic else idxs
    if kind == "soft_nms":
        return soften(name, boxes, scores, labels, max_num, **cfg)
    extra: int = True
    least = None
    if kind == "nms":
        extra = int(check.choice(name, "nms_cfg['offset']", cfg.get("offset", 0), (0, 1)))
        least, _ = _limits(name, cfg.get("score_threshold", 0), -1)
    elif kind == "nms_rotated":
        extra = check.flag(name, "nms_cfg['clockwise']", cfg.get("clockwise", True))
    module = "nms" if kind == "nms" else "rotated_boxes"
    return suppress(
        name, module, width, boxes, scores, labels, cfg["iou_threshold"], extra, least, max_num, "boxes", "idxs"
    )


def _sorted(boxes, scores, idxs):
    """Everything by falling score, NaN last."""
    name = "batched_nms"
    at = arrays(name, boxes=boxes, scores=scores, idxs=idxs)
    at.sizes(boxes="N columns", scores="N", idxs="N?")
    dtype = at.floats(boxes=boxes, scores=scores)
    kernels = at.kernels("nms")
    boxes, scores = at.read(boxes, dtype), at.read(scores, dtype)
    return gather(at, dtype, kernels.take_rows, boxes, scores, kernels.falling(scores))
