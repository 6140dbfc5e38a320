"""Calls of `bbox_overlaps`."""

import numpy as np

from arrayvision.cases import Case


def formula(bboxes1, bboxes2, mode="iou", aligned=False, offset=0):
    a, b = (bboxes1, bboxes2) if aligned else (bboxes1[:, None], bboxes2[None])
    (w, h), (u, v) = (np.moveaxis(x[..., 2:] - x[..., :2] + offset, -1, 0) for x in (a, b))
    iw = np.minimum(a[..., 2], b[..., 2]) - np.maximum(a[..., 0], b[..., 0]) + offset
    ih = np.minimum(a[..., 3], b[..., 3]) - np.maximum(a[..., 1], b[..., 1]) + offset
    with np.errstate(all="ignore"):
        inter = np.where((iw > 0) & (ih > 0), iw * ih, 0)
        out = inter / (w * h if mode == "iof" else w * h + u * v - inter)
        fine = (w > 0) & (h > 0) & (u > 0) & (v > 0) & np.isfinite(w * h) & np.isfinite(u * v)
    return np.where(fine, out, 0)


def _boxes(n, seed):
    rng = np.random.default_rng(seed)
    xy = rng.uniform(-50, 50, (n, 2))
    return np.concatenate([xy, xy + rng.uniform(-2, 40, (n, 2))], 1)


_PAIRS, _ROWS = dict(bboxes1="M 4", bboxes2="N 4"), dict(bboxes1="M 4", bboxes2="M 4")
CASES = (
    Case("bbox_overlaps", "bbox_overlaps", dict(bboxes1=_boxes(20, 0), bboxes2=_boxes(9, 1)), _PAIRS, formula),
    Case(
        "bbox_overlaps, aligned, iof",
        "bbox_overlaps",
        dict(bboxes1=_boxes(20, 0), bboxes2=_boxes(20, 1)),
        _ROWS,
        formula,
        dict(mode="iof", aligned=True, offset=1),
    ),
)
