"""Calls of `box_iou_rotated` and `box_iou_quadri`."""

import numpy as np

from arrayvision.cases import Case


def corners(boxes):
    """Of rotated boxes, (N, 4, 2)."""
    c, s = np.cos(boxes[:, 4]), np.sin(boxes[:, 4])
    w, h = boxes[:, 2] / 2, boxes[:, 3] / 2
    signs = ((1, 1), (-1, 1), (-1, -1), (1, -1))
    at = [(boxes[:, 0] + i * w * c - j * h * s, boxes[:, 1] + i * w * s + j * h * c) for i, j in signs]
    return np.stack([np.stack(xy, -1) for xy in at], 1)


def _overlaps(p, q, mode, aligned):
    import shapely

    p, q = shapely.polygons(p), shapely.polygons(q)
    p, q = (p, q) if aligned else (p[:, None], q[None])
    inter, areas = shapely.area(shapely.intersection(p, q)), (shapely.area(p), shapely.area(q))
    return inter / (areas[0] + 0 * inter if mode == "iof" else areas[0] + areas[1] - inter)


def rotated(bboxes1, bboxes2, mode="iou", aligned=False, clockwise=True):
    turned = (b * np.array([1, 1, 1, 1, 1 if clockwise else -1]) for b in (bboxes1, bboxes2))
    return _overlaps(*map(corners, turned), mode, aligned)


def quadrilaterals(bboxes1, bboxes2, mode="iou", aligned=False):
    return _overlaps(bboxes1.reshape(-1, 4, 2), bboxes2.reshape(-1, 4, 2), mode, aligned)


def _boxes(n, seed):
    rng = np.random.default_rng(seed)
    return np.stack([*rng.uniform(0, 40, (2, n)), *rng.uniform(4, 40, (2, n)), rng.uniform(-3, 3, n)], 1)


def _both(a, b):
    return dict(bboxes1=a, bboxes2=b)


_A, _B = _boxes(12, 0), _boxes(7, 1)
_QUADS = [corners(b).reshape(-1, 8) for b in (_A, _B)]
CASES = (
    Case("box_iou_rotated", "box_iou_rotated", _both(_A, _B), _both("M 5", "N 5"), rotated),
    Case(
        "box_iou_rotated, aligned, iof", "box_iou_rotated", _both(_A, _A[::-1].copy()), _both("M 5", "M 5"), rotated,
        dict(mode="iof", aligned=True, clockwise=False),
    ),
    Case("box_iou_quadri", "box_iou_quadri", _both(*_QUADS), _both("M 8", "N 8"), quadrilaterals),
    Case(
        "box_iou_quadri, aligned", "box_iou_quadri", _both(_QUADS[0], _QUADS[0][::-1].copy()), _both("M 8", "M 8"),
        quadrilaterals, dict(aligned=True),
    ),
)  # fmt: skip
