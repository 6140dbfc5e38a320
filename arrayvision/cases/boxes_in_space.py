"""Calls of the overlaps and suppressions of boxes in space; polygons by shapely."""

import numpy as np

from arrayvision.cases import Case, Timed
from arrayvision.cases.rotated_boxes import corners

_RNG = np.random.default_rng(0)


def boxes(rng, n, side=20.0):
    """Boxes (n, 7) of a car's size on a square of this side."""
    return np.concatenate(
        [rng.uniform(0, side, (n, 2)), rng.uniform(-1, 1, (n, 1)), rng.uniform([3, 1.5, 1], [6, 3, 2], (n, 3)), rng.uniform(-4, 4, (n, 1))],
        1,
    )  # fmt: skip


def flat(rng, n, side=20.0):
    """Rectangles (n, 5) by their corners before they are turned."""
    b = boxes(rng, n, side)
    return np.concatenate([b[:, :2] - b[:, 3:5] / 2, b[:, :2] + b[:, 3:5] / 2, b[:, 6:]], 1)


def _shared(p, q):
    """Shared areas of rectangles (M, 5) and (N, 5), and both areas."""
    import shapely

    p, q = shapely.polygons(corners(p))[:, None], shapely.polygons(corners(q))[None]
    return shapely.area(shapely.intersection(p, q)), shapely.area(p), shapely.area(q)


def _rectangles(b):
    return b[:, [0, 1, 3, 4, 6]]


def overlap_bev(boxes_a, boxes_b):
    return _shared(_rectangles(boxes_a), _rectangles(boxes_b))[0]


def _centred(b):
    return np.concatenate([(b[:, :2] + b[:, 2:4]) / 2, b[:, 2:4] - b[:, :2], b[:, 4:]], 1)


def iou_bev(boxes_a, boxes_b):
    shared, p, q = _shared(_centred(boxes_a), _centred(boxes_b))
    return shared / (p + q - shared)


def iou3d(boxes_a, boxes_b):
    shared, p, q = _shared(_rectangles(boxes_a), _rectangles(boxes_b))
    z, dz, w, dw = boxes_a[:, 2:3], boxes_a[:, 5:6], boxes_b[:, 2], boxes_b[:, 5]
    shared = shared * np.maximum(np.minimum(z + dz / 2, w + dw / 2) - np.maximum(z - dz / 2, w - dw / 2), 0)
    return shared / (p * dz + q * dw - shared)


def _both(make):
    return dict(boxes_a=make(_RNG, 12), boxes_b=make(_RNG, 7))


CASES = (
    Case("boxes_overlap_bev", "boxes_overlap_bev", _both(boxes), dict(boxes_a="M 7", boxes_b="N 7"), overlap_bev),
    Case("boxes_iou_bev", "boxes_iou_bev", _both(flat), dict(boxes_a="M 5", boxes_b="N 5"), iou_bev),
    Case("boxes_iou3d", "boxes_iou3d", _both(boxes), dict(boxes_a="M 7", boxes_b="N 7"), iou3d),
)


def _one_by_one(b, scores, threshold):
    """A plain loop over boxes, each compared with all that are left and near."""
    left, keep = np.argsort(-scores, kind="stable"), []
    while len(left):
        keep.append(left[0])
        near = np.hypot(*(b[left[1:], :2] - b[left[0], :2]).T) < 8
        close = left[1:][near]
        shared, p, q = _shared(_rectangles(b[left[:1]]), _rectangles(b[close]))
        gone = close[(shared / (p + q - shared))[0] > threshold]
        left = left[1:][~np.isin(left[1:], gone)]
    return np.array(keep)


def timed():
    rng = np.random.default_rng(1)
    for n in (50, 1000):
        a, b = (boxes(rng, n, 4 * n**0.5).astype(np.float32) for _ in range(2))
        yield Timed(
            f"boxes_iou3d, {n} x {n}", "boxes_iou3d", dict(boxes_a=a, boxes_b=b),
            peers={"shapely": ("shapely", lambda _, boxes_a, boxes_b: iou3d(boxes_a, boxes_b))}, at_least=20,
        )  # fmt: skip
    for n in (100, 10_000):
        b, scores = boxes(rng, n, 4 * n**0.5).astype(np.float32), rng.random(n).astype(np.float32)
        yield Timed(
            f"nms3d, {n} boxes", "nms3d", dict(boxes=b, scores=scores), dict(iou_threshold=0.3),
            peers={"shapely, one by one": ("shapely", lambda _, boxes, scores: _one_by_one(boxes, scores, 0.3))},
            at_least=20,
        )  # fmt: skip
